"""Whether the operands of a move overlap as they must not, found in time in proportion to their number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from hal.plan.model import BufferKind, Channel, Move, Span

Range = tuple[int, int]
"""First chunk and the one after the last; a chunk in packet form is twice as long and at twice the place."""


def overlaps(rank: int, channels: Sequence[Channel], move: Move) -> bool:
    """Whether a destination shares memory with another operand other than a source that is exactly the same.

    `rank` runs the move and `channels` are its channels.
    """
    members = {s.switch: frozenset(channels[s.switch].peers) for s in (*move.dst, *move.src) if s.switch is not None}
    # a switch group has this rank among its members, so that two switch operands meet here whatever their groups
    ranks = {rank, *(s.peer for s in (*move.dst, *move.src) if s.peer is not None)}

    def by_memory(spans: Iterable[Span]) -> dict[tuple[int, BufferKind], list[Range]]:
        found: defaultdict[tuple[int, BufferKind], list[Range]] = defaultdict(list)
        for span in spans:
            scale = 2 if span.packet else 1
            if span.switch is not None:
                owners = ranks & members[span.switch]
            else:
                owners = {rank if span.peer is None else span.peer}
            for owner in owners:
                found[owner, span.buffer].append((scale * span.index, scale * (span.index + span.size)))
        return found

    sources = by_memory(move.src)
    return any(_clash(ranges, sources.get(memory, [])) for memory, ranges in by_memory(move.dst).items())


def _clash(written: list[Range], read: list[Range]) -> bool:
    if len(set(written)) < len(written):
        return True
    reach = reach_written = 0
    marked = [(r, True) for r in written] + [(r, False) for r in set(read) - set(written)]
    for (first, end), is_written in sorted(marked):
        if first < (reach if is_written else reach_written):
            return True
        reach = max(reach, end)
        reach_written = max(reach_written, end if is_written else 0)
    return False
