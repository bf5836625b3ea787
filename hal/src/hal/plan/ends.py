"""Which end of a channel meets which."""

from __future__ import annotations

from collections import defaultdict

from hal.plan.model import ChannelKind, Plan

End = tuple[int, int]
"""One end of a channel: the rank, and the number of the channel there."""


def other_ends(plan: Plan) -> dict[End, End]:
    """For each end of a memory or port channel of a valid plan the other.

    The k-th channel of a kind from r to p meets the k-th of that kind from p to r.
    """
    ends: defaultdict[tuple[ChannelKind, int, int], list[End]] = defaultdict(list)
    for number, rank in enumerate(plan.ranks):
        for index, channel in enumerate(rank.channels):
            if channel.kind is not ChannelKind.SWITCH:
                ends[channel.kind, number, channel.peer].append((number, index))
    return {
        own: other
        for (kind, number, peer), owns in ends.items()
        for own, other in zip(owns, ends[kind, peer, number], strict=True)
    }
