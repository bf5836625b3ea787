"""Plans of collectives, each in several kinds that use different instructions for the same result."""

from __future__ import annotations

import functools
from collections.abc import Callable

from hal.plan.builder import BlockBuilder, Chunks, PlanBuilder, RankBuilder
from hal.plan.collective import Collective
from hal.plan.model import Plan

Source = tuple[int, int]
"""A rank, and a block of its input."""

UNIT = 192
SLOTS = 2
IN_PLACE = ("scratch", "pieces", "pushed")
"""The kinds whose plans are right where output and input share memory."""


def wanted(collective: Collective, size: int, rank: int, root: int) -> list[list[Source]]:
    """For each block of `rank`'s output what it is the reduction (or copy) of."""
    everybody = range(size)
    at_root = rank == root
    match collective:
        case Collective.ALL_REDUCE:
            return [[(r, 0) for r in everybody]]
        case Collective.REDUCE:
            return [[(r, 0) for r in everybody]] if at_root else []
        case Collective.REDUCE_SCATTER:
            return [[(r, rank) for r in everybody]]
        case Collective.ALL_GATHER:
            return [[(r, 0)] for r in everybody]
        case Collective.GATHER:
            return [[(r, 0)] for r in everybody] if at_root else []
        case Collective.BROADCAST:
            return [[(root, 0)]]
        case Collective.SCATTER:
            return [[(root, rank)]]
        case Collective.ALL_TO_ALL:
            return [[(r, rank)] for r in everybody]
        case Collective.SEND_RECV:
            return [[(0, 0)]] if rank == 1 else []
        case _:
            return []


class _Making:
    """A plan that is being built, and what each rank wants."""

    def __init__(self, collective: Collective, kind: str, size: int, root: int) -> None:
        self.collective = collective
        self.size = size
        self.builder = PlanBuilder(
            collective,
            name=f"{kind}_{collective.label}",
            ranks=size,
            root=root if collective.rooted else None,
            scratch_chunk_bytes=UNIT * SLOTS if kind == "pieces" else None,
            in_place=kind in IN_PLACE,
        )
        self.wanted = [wanted(collective, size, rank, root) for rank in range(size)]

    def store(self, block: BlockBuilder, rank: RankBuilder, find: Callable[[int, int], Chunks]) -> None:
        """Make the outputs of `rank` from operands that `find` has for each source."""
        for number, sources in enumerate(self.wanted[rank.id]):
            block.move(rank.output[number], [find(*source) for source in sources], final=self.collective.reduces)

    def publish(self, block: BlockBuilder, rank: RankBuilder) -> None:
        """Copy the input to the own scratch."""
        for number in range(len(rank.input)):
            block.copy(rank.scratch[number], rank.input[number])

    def needed(self, rank: int) -> list[Source]:
        """All that the outputs of `rank` are made of."""
        return [source for sources in self.wanted[rank] for source in sources]

    def slot(self, source: Source) -> int:
        """A chunk of scratch of its own for each source."""
        longest = max(len(rank.input) for rank in self.builder.ranks)
        return source[0] * longest + source[1]


def _meet(block: BlockBuilder, rank: RankBuilder, *, port: bool = False) -> None:
    if rank.others:
        block.signal(rank.others, port=port)
        block.wait(rank.others, port=port)
    else:
        block.sync()


def _scratch(making: _Making) -> None:
    """Each rank copies its input to its scratch, where the others read it."""
    ranks = making.builder.ranks
    for rank in ranks:
        block = rank.block()
        making.publish(block, rank)
        _meet(block, rank)
        making.store(block, rank, lambda r, n: ranks[r].scratch[n])


def _mapped(making: _Making) -> None:
    """Each rank reads the inputs of the others, between two meetings."""
    ranks = making.builder.ranks
    for rank in ranks:
        block = rank.block()
        _meet(block, rank)
        making.store(block, rank, lambda r, n: ranks[r].input[n])
        _meet(block, rank)


def _pushed(making: _Making) -> None:
    """Each rank stores its input to the outputs or scratch of those who want it, and signals."""
    for rank in making.builder.ranks:
        block = rank.block()
        for other in rank.others:
            for source in making.needed(other.id):
                if source[0] == rank.id:
                    block.copy(other.scratch[making.slot(source)], rank.input[source[1]])
        _meet(block, rank)
        making.store(block, rank, _received(making, rank))


def _received(making: _Making, rank: RankBuilder) -> Callable[[int, int], Chunks]:
    return lambda r, n: rank.input[n] if r == rank.id else rank.scratch[making.slot((r, n))]


def _packets(making: _Making) -> None:
    """Each rank sends packets to those who want its input; nobody signals."""
    for rank in making.builder.ranks:
        block = rank.block()
        for other in rank.others:
            for source in making.needed(other.id):
                if source[0] == rank.id:
                    block.copy(other.scratch[making.slot(source)].packets, rank.input[source[1]])
        making.store(block, rank, _unpacked(making, rank))


def _unpacked(making: _Making, rank: RankBuilder) -> Callable[[int, int], Chunks]:
    return lambda r, n: rank.input[n] if r == rank.id else rank.scratch[making.slot((r, n))].packets


def _posted(making: _Making) -> None:
    """Each rank posts its input through port channels, and signals there."""
    for rank in making.builder.ranks:
        block = rank.block()
        for other in rank.others:
            for source in making.needed(other.id):
                if source[0] == rank.id:
                    block.post(other.scratch[making.slot(source)], rank.input[source[1]])
        _meet(block, rank, port=True)
        making.store(block, rank, _received(making, rank))


def _pieces(making: _Making) -> None:
    """As `scratch`, piece by piece through a ring of slots, with a meeting before and after each piece is read."""
    ranks = making.builder.ranks
    for rank in ranks:
        block = rank.block()
        with block.loop(UNIT, SLOTS):
            making.publish(block, rank)
            _meet(block, rank)
            making.store(block, rank, lambda r, n: ranks[r].scratch[n])
            _meet(block, rank)


_KINDS: dict[str, Callable[[_Making], None]] = {
    "scratch": _scratch,
    "mapped": _mapped,
    "pushed": _pushed,
    "packets": _packets,
    "posted": _posted,
    "pieces": _pieces,
}
KINDS = tuple(_KINDS)

COLLECTIVES = (
    Collective.ALL_REDUCE,
    Collective.ALL_GATHER,
    Collective.REDUCE_SCATTER,
    Collective.BROADCAST,
    Collective.REDUCE,
    Collective.GATHER,
    Collective.SCATTER,
    Collective.ALL_TO_ALL,
)
"""The collectives of any number of ranks that move data."""


@functools.cache
def collective_plan(collective: Collective, kind: str, size: int, root: int = 0) -> Plan:
    """The plan of a collective, in one of `KINDS`."""
    making = _Making(collective, kind, size, root)
    _KINDS[kind](making)
    return making.builder.build()


@functools.cache
def barrier_plan(size: int) -> Plan:
    """Each rank signals all others and waits for them."""
    p = PlanBuilder("barrier", name="barrier", ranks=size)
    for rank in p.ranks:
        _meet(rank.block(), rank)
    return p.build()
