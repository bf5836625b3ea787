"""Every rank puts what others need into their scratch, and nothing is read in another rank's memory.

Between hosts a put is on its way at once, where reading takes a round trip after the meeting. `pushed` goes through
scratch as large as the message or twice that, `pushed_staged` piece by piece through bounded scratch. Ranks reduce in
their order.
"""

from __future__ import annotations

import contextlib
from typing import Any

from hal.plan.builder import Chunks, PlanBuilder, RankBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.meeting import meet
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.staging import unit_for


@algorithm(
    "all_reduce",
    name="pushed",
    description="every rank is given its slice by all, reduces it, and gives all the result; scratch of two messages",
)
def all_reduce(size: int) -> Plan:
    """Two meetings."""
    return _all_reduce(size, None)


@algorithm(
    "all_reduce",
    name="pushed_staged",
    description="as pushed, piece by piece through bounded scratch, for any length",
)
def all_reduce_staged(size: int) -> Plan:
    """One slot suffices: what one meeting of a piece is about has been read before the other."""
    return _all_reduce(size, unit_for(chunks=2 * size, slots=1))


def _all_reduce(size: int, unit: int | None) -> Plan:
    """Scratch holds the own slice as every rank has it, then the results."""
    p, pieces = _plan("all_reduce", size, unit, 1)
    for rank in p.ranks:
        block = rank.block()
        if not rank.others:
            block.reduce(rank.output[0], [rank.input[0]], final=True)
            continue
        with pieces(block):
            for peer in rank.others:
                block.copy(peer.scratch[rank.id], rank.input[peer.id])
            meet(block)
            results = [peer.scratch[size + rank.id] for peer in rank.others]
            block.reduce([rank.output[rank.id], *results], _of_all(rank), final=True)
            meet(block)
            for peer in rank.others:
                block.copy(rank.output[peer.id], rank.scratch[size + peer.id])
    return p.build()


@algorithm(
    "all_gather",
    name="pushed",
    description="every rank gives its block to all",
    variable=True,
)
def all_gather(size: int) -> Plan:
    """One meeting. For longer messages a ring puts less across each link."""
    p, _ = _plan("all_gather", size, None, 1)
    for rank in p.ranks:
        block = rank.block()
        block.copy([rank.output[rank.id], *(peer.scratch[rank.id] for peer in rank.others)], rank.input[0])
        meet(block)
        for peer in rank.others:
            block.copy(rank.output[peer.id], rank.scratch[peer.id])
    return p.build()


@algorithm(
    "reduce_scatter",
    name="pushed",
    description="every rank is given its block by all, and reduces it",
    variable=True,
)
def reduce_scatter(size: int) -> Plan:
    """One meeting."""
    return _reduce_scatter(size, None)


@algorithm(
    "reduce_scatter",
    name="pushed_staged",
    description="as pushed, piece by piece through bounded scratch, for any length",
    variable=True,
)
def reduce_scatter_staged(size: int) -> Plan:
    """One meeting a piece, and two slots."""
    return _reduce_scatter(size, unit_for(chunks=size, slots=2))


def _reduce_scatter(size: int, unit: int | None) -> Plan:
    p, pieces = _plan("reduce_scatter", size, unit, 2)
    for rank in p.ranks:
        block = rank.block()
        if not rank.others:
            block.reduce(rank.output[0], [rank.input[0]], final=True)
            continue
        with pieces(block):
            for peer in rank.others:
                block.copy(peer.scratch[rank.id], rank.input[peer.id])
            meet(block)
            block.reduce(rank.output[0], _of_all(rank), final=True)
    return p.build()


@algorithm(
    "all_to_all",
    name="pushed",
    description="every rank is given its blocks by all",
    variable=True,
)
def all_to_all(size: int) -> Plan:
    """One meeting."""
    return _all_to_all(size, None)


@algorithm(
    "all_to_all",
    name="pushed_staged",
    description="as pushed, piece by piece through bounded scratch, for any length",
    variable=True,
)
def all_to_all_staged(size: int) -> Plan:
    """One meeting a piece, and two slots."""
    return _all_to_all(size, unit_for(chunks=size, slots=2))


def _all_to_all(size: int, unit: int | None) -> Plan:
    p, pieces = _plan("all_to_all", size, unit, 2)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.output[rank.id], rank.input[rank.id])
        if not rank.others:
            continue
        with pieces(block):
            for peer in rank.others:
                block.copy(peer.scratch[rank.id], rank.input[peer.id])
            meet(block)
            for peer in rank.others:
                block.copy(rank.output[peer.id], rank.scratch[peer.id])
    return p.build()


def _plan(collective: str, size: int, unit: int | None, slots: int) -> tuple[PlanBuilder, Any]:
    """A builder, and what a block does its pieces in: a loop, or all at once where `unit` is None."""
    split = size if collective == "all_reduce" else 1
    if unit is None:
        return PlanBuilder(collective, name="pushed", ranks=size, split=split), contextlib.nullcontext
    room = slots * unit
    p = PlanBuilder(collective, name="pushed_staged", ranks=size, split=split, scratch_chunk_bytes=room)
    return p, lambda block: block.loop(unit, slots)


def _of_all(rank: RankBuilder) -> list[Chunks]:
    """The own slice or block as every rank has it, in the order of the ranks."""
    return [rank.input[rank.id] if peer is rank else rank.scratch[peer.id] for peer in rank.plan.ranks]
