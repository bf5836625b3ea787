"""The channels of all ranks, and the reverse ends that a file leaves out."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hal.plan.document import Problem
from hal.plan.model import BufferKind, Channel, ChannelKind
from hal.plan.mscclpp.schema import Channels, Gpu

BUFFERS = {"i": BufferKind.INPUT, "o": BufferKind.OUTPUT, "s": BufferKind.SCRATCH}


@contextlib.contextmanager
def inside(part: str) -> Iterator[None]:
    """Adds a part of the path to problems that are found inside."""
    try:
        yield
    except Problem as problem:
        problem.path.append(part)
        raise


def checked(what: str, number: int, count: int) -> int:
    """`number`, where there are so many of them."""
    if number >= count:
        allowed = f"allowed are 0 to {count - 1}" if count else "there are none"
        raise Problem(f"{what} {number} does not exist: {allowed}")
    return number


@dataclass
class RankChannels:
    """The channels of one rank: in the order of the plan, and by type in that of the file, as numbers in the plan."""

    channels: list[Channel] = field(default_factory=list)
    by_type: dict[str, list[int]] = field(default_factory=lambda: {"memory": [], "port": [], "switch": []})
    buffers: dict[int, BufferKind] = field(default_factory=dict)
    """For each switch channel the buffer that it is bound to."""

    def add(self, kind: ChannelKind, peers: tuple[int, ...]) -> int:
        """Add a channel; its number."""
        self.by_type[kind.value].append(len(self.channels))
        self.channels.append(Channel(kind, peers))
        return len(self.channels) - 1


def read_channels(gpus: Sequence[Gpu]) -> list[RankChannels]:
    """The channels of all ranks, reverse ends included; `Problem` where they cannot be."""
    ranks = []
    for number, gpu in enumerate(gpus):
        found = RankChannels()
        with inside(f"gpus[{number}]"):
            for index, entry in enumerate(gpu.channels):
                with inside(f".channels[{index}]"):
                    _read(entry, number, len(gpus), found)
        ranks.append(found)
    _add_reverse_ends(ranks)
    _check_groups(ranks)
    return ranks


def _read(entry: Channels, rank: int, size: int, found: RankChannels) -> None:
    switch = entry.channel_type == "switch"
    for key, given in (("connected_to", entry.connected_to), ("rank_groups", entry.rank_groups)):
        if given and switch == (key == "connected_to"):
            raise Problem(f"a {entry.channel_type} channel has no {key!r}")
    for index, peer in enumerate(entry.connected_to):
        with inside(f".connected_to[{index}]"):
            _check_peer(peer, rank, size)
            found.add(ChannelKind(entry.channel_type), (peer,))
    if switch and entry.buffer_type is None:
        raise Problem("key 'buffer_type' is missing")
    for index, group in enumerate(entry.rank_groups):
        with inside(f".rank_groups[{index}]"):
            if group.size != len(group.ranks):
                raise Problem(f"size is {group.size}, but {len(group.ranks)} ranks are listed")
            for member in group.ranks:
                checked("rank", member, size)
            if len(group.ranks) < 2 or len(set(group.ranks)) < len(group.ranks) or rank not in group.ranks:
                raise Problem(f"a group has two or more different ranks, rank {rank} among them")
            # all members have to name the same channel, and its order has no meaning
            number = found.add(ChannelKind.SWITCH, tuple(sorted(group.ranks)))
            found.buffers[number] = BUFFERS[str(entry.buffer_type)]


def _check_peer(peer: int, rank: int, size: int) -> None:
    checked("rank", peer, size)
    if peer == rank:
        raise Problem(f"rank {rank} is this rank itself")


def _add_reverse_ends(ranks: list[RankChannels]) -> None:
    """The k-th channel of a rank to another pairs with the k-th of that to it; an end that is missing exists too."""
    ends: Counter[tuple[ChannelKind, int, int]] = Counter()
    for number, rank in enumerate(ranks):
        ends.update((c.kind, number, c.peer) for c in rank.channels if c.kind is not ChannelKind.SWITCH)
    for (kind, number, peer), count in list(ends.items()):
        for _ in range(count - ends[kind, peer, number]):
            # at the end, so that no number in the file changes; it is in no list of the file's
            ranks[peer].channels.append(Channel(kind, (number,)))


def _check_groups(ranks: list[RankChannels]) -> None:
    """The k-th channel of a group is one channel: all members have it, bound to the same buffer."""
    bound: defaultdict[tuple[int, ...], dict[int, list[BufferKind]]] = defaultdict(dict)
    for number, rank in enumerate(ranks):
        for channel, buffer in rank.buffers.items():
            bound[rank.channels[channel].peers].setdefault(number, []).append(buffer)
    for members, by_rank in bound.items():
        first = next(iter(by_rank))
        for member in members:
            if by_rank.get(member) != by_rank[first]:
                group = ", ".join(map(str, members[:8])) + (", …" if len(members) > 8 else "")
                raise Problem(
                    f"gpus[{member}].channels: the switch channels of ranks {group} are others, "
                    f"or of other buffers, than those of gpus[{first}]"
                )
