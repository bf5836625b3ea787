"""Recursive doubling and halving: log2(n) exchanges with a partner twice as far, or half as far, each time.

Exchanges pair the ranks of a core whose size is a power of two. Where the rank count is none, each of the first ranks
that are too many is folded into its neighbour: its input is added to the neighbour's before, and it is given the result
after. Core members stay in rank order, and both partners put the lower one's operand first, so that they compute the
same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from hal.plan.builder import BlockBuilder, Chunks, PlanBuilder, RankBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.registry import algorithm


def is_power_of_two(size: int) -> bool:
    """Whether `size` is 1, 2, 4, 8, …"""
    return size & (size - 1) == 0


@dataclass(frozen=True)
class Folding:
    """The core of the ranks, in rank order, and the rank that is folded into each of the first of them."""

    core: list[RankBuilder]
    guests: dict[int, RankBuilder]
    """By the number of the host."""

    @classmethod
    def of(cls, ranks: list[RankBuilder]) -> Folding:
        """Fold the odd ones of the first ranks into the rank before them, as many as are too many."""
        surplus = len(ranks) - (1 << (len(ranks).bit_length() - 1))
        guests = {ranks[2 * i].id: ranks[2 * i + 1] for i in range(surplus)}
        folded = {guest.id for guest in guests.values()}
        return cls([rank for rank in ranks if rank.id not in folded], guests)


def be_guest(guest: RankBuilder, host: RankBuilder, chunks: int) -> None:
    """The block of a folded rank: its input goes to the host's first scratch chunks, the result comes to its own."""
    block = guest.block()
    whole = slice(0, chunks)
    block.copy(host.scratch[whole], guest.input[whole])
    block.signal([host])
    block.wait([host])
    block.copy(guest.output[whole], guest.scratch[whole])


@algorithm(
    "all_reduce",
    name="recursive_doubling",
    description="log2(n) exchanges of the whole message; scratch of as many messages",
    in_order=False,
)
def recursive_doubling(size: int) -> Plan:
    """The fewest steps in which two ranks at a time exchange; the whole message each time."""
    p = PlanBuilder("all_reduce", name="recursive_doubling", ranks=size)
    folding = Folding.of(p.ranks)
    for place, rank in enumerate(folding.core):
        _double(rank, place, folding)
    for host, guest in folding.guests.items():
        be_guest(guest, p.ranks[host], 1)
    return p.build()


def _double(rank: RankBuilder, place: int, folding: Folding) -> None:
    """The block of a core member. Scratch chunk 0 is the guest's, chunk k+1 that of the k-th partner."""
    block = rank.block()
    partners = [folding.core[place ^ (1 << k)] for k in range(len(folding.core).bit_length() - 1)]
    guest = folding.guests.get(rank.id)
    sums: list[Chunks] = [rank.input[0]]
    if guest is not None:
        block.wait([guest])
        sums.append(rank.scratch[0])
    for k, partner in enumerate(partners):
        block.reduce([rank.output[0], partner.scratch[k + 1]], sums)
        block.signal([partner])
        block.wait([partner])
        sums = _in_order(rank, partner, rank.output[0], rank.scratch[k + 1])
    if guest is None:
        block.reduce(rank.output[0], sums, final=True)
    else:
        block.reduce([rank.output[0], guest.scratch[0]], sums, final=True)
        block.signal([guest])


def _in_order(rank: RankBuilder, partner: RankBuilder, own: Chunks, received: Chunks) -> list[Chunks]:
    return [own, received] if rank.id < partner.id else [received, own]


@algorithm(
    "all_reduce",
    name="halving_doubling",
    description="reduce-scatter by recursive halving, all-gather by recursive doubling; scratch of three messages",
    in_order=False,
)
def halving_doubling(size: int) -> Plan:
    """Twice the steps of `recursive_doubling`, but less than twice the message sent in all."""
    core_size = 1 << (size.bit_length() - 1)
    p = PlanBuilder("all_reduce", name="halving_doubling", ranks=size, split=core_size)
    folding = Folding.of(p.ranks)
    for place, rank in enumerate(folding.core):
        _halve_and_double(rank, place, folding)
    for host, guest in folding.guests.items():
        be_guest(guest, p.ranks[host], core_size)
    return p.build()


def _halve_and_double(rank: RankBuilder, place: int, folding: Folding) -> None:
    """The block of a core member. Its scratch: the guest's message, ranges received halving, and those doubling."""
    block = rank.block()
    core, guest = folding.core, folding.guests.get(rank.id)
    whole = slice(0, len(core))
    mine = rank.input
    if len(core) == 1:
        block.reduce(rank.output[whole], [rank.input[whole]], final=True)
    if guest is not None:
        block.wait([guest])
        block.reduce(rank.output[whole], [rank.input[whole], rank.scratch[whole]])
        block.sync()
        mine = rank.output
    distance = len(core) // 2
    while distance:
        partner = core[place ^ distance]
        keep, give = _range(place, distance), _range(place ^ distance, distance)
        block.copy(partner.scratch[_room(len(core), distance)], mine[give])
        block.signal([partner])
        block.wait([partner])
        sums = _in_order(rank, partner, mine[keep], rank.scratch[_room(len(core), distance)])
        block.reduce(rank.output[keep], sums, final=distance == 1)
        block.sync()
        mine = rank.output
        distance //= 2
    _gather_by_doubling(block, place, core, offset=2 * len(core))
    if guest is not None:
        block.copy(guest.scratch[whole], rank.output[whole])
        block.signal([guest])


def _gather_by_doubling(block: BlockBuilder, place: int, core: list[RankBuilder], offset: int) -> None:
    """From one chunk of the output, that of this place, to all; scratch from chunk `offset` on receives the others."""
    rank = block.rank
    distance = 1
    while distance < len(core):
        partner = core[place ^ distance]
        theirs = _range(place ^ distance, distance)
        block.copy(partner.scratch[_room(offset, distance)], rank.output[_range(place, distance)])
        block.signal([partner])
        block.wait([partner])
        block.copy(rank.output[theirs], rank.scratch[_room(offset, distance)])
        block.sync()
        distance *= 2


def _range(place: int, length: int) -> slice:
    """The aligned range of `length` chunks that `place` lies in."""
    first = place - place % length
    return slice(first, first + length)


def _room(offset: int, length: int) -> slice:
    """Scratch chunks for a range of `length`, a power of two: where no other length has its own after `offset`."""
    return slice(offset + length, offset + 2 * length)


@algorithm(
    "all_gather",
    name="recursive_doubling",
    description="log2(n) exchanges, of twice as many blocks each time; scratch as large as the output",
    ranks="powers of two",
    claims=is_power_of_two,
)
def all_gather(size: int) -> Plan:
    """The fewest steps in which two ranks at a time exchange."""
    p = PlanBuilder("all_gather", name="recursive_doubling", ranks=size)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.output[rank.id], rank.input[0])
        block.sync()
        _gather_by_doubling(block, rank.id, p.ranks, offset=0)
    return p.build()
