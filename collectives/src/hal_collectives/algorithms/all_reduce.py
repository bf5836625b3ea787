"""all_reduce where every rank talks to all others: by packets, in one phase, in two, on mapped memory, staged."""

from __future__ import annotations

import contextlib

from hal.plan.builder import PlanBuilder, RankBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.meeting import meet
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.staging import unit_for


@algorithm(
    "all_reduce",
    name="all_pairs_ll",
    description="every rank pushes its input to all others in packets, and all reduce everything",
)
def all_pairs_ll(size: int) -> Plan:
    """One message delay and no signal at all; the work grows with the rank count."""
    p = PlanBuilder("all_reduce", name="all_pairs_ll", ranks=size)
    for rank in p.ranks:
        block = rank.block()
        if rank.others:
            block.copy([peer.scratch[rank.id].packets for peer in rank.others], rank.input[0])
            block.sync()  # in place, the input is about to be overwritten
        contributions = [rank.input[0] if q is rank else rank.scratch[q.id].packets for q in p.ranks]
        block.reduce(rank.output[0], contributions, final=True)
    return p.build()


@algorithm(
    "all_reduce",
    name="one_phase",
    description="every rank publishes its input in its scratch, and all reduce everything",
)
def one_phase(size: int) -> Plan:
    """One synchronisation; every rank reads everything."""
    p = PlanBuilder("all_reduce", name="one_phase", ranks=size)
    for rank in p.ranks:
        block = rank.block()
        if rank.others:
            block.copy(rank.scratch[0], rank.input[0])
            meet(block)
        contributions = [rank.input[0] if q is rank else q.scratch[0] for q in p.ranks]
        block.reduce(rank.output[0], contributions, final=True)
    return p.build()


@algorithm(
    "all_reduce",
    name="two_phase",
    description="rank r reduces slice r of all where they have published it, in scratch as large as the message",
)
def two_phase(size: int) -> Plan:
    """Two synchronisations; every element is reduced once."""
    p = PlanBuilder("all_reduce", name="two_phase", ranks=size, split=size)
    for rank in p.ranks:
        reduce_and_gather_slices(rank)
    return p.build()


@algorithm(
    "all_reduce",
    name="staged",
    description="two_phase piece by piece through bounded scratch, for any length",
)
def staged(size: int) -> Plan:
    """One slot suffices: after the second meeting of a piece no rank touches another's slot any more."""
    unit = unit_for(chunks=size, slots=1)
    p = PlanBuilder("all_reduce", name="staged", ranks=size, split=size, scratch_chunk_bytes=unit)
    for rank in p.ranks:
        reduce_and_gather_slices(rank, unit)
    return p.build()


def reduce_and_gather_slices(rank: RankBuilder, unit: int | None = None) -> None:
    """The block of one rank of `two_phase`; inside a loop by pieces of `unit` bytes where that is given.

    Results go to where the contributions were read. The line of a cache that a rank has just read it also writes, and
    its owner, who reads it next, writes it next too: each line changes hands twice, and is never shared.
    """
    block = rank.block()
    if not rank.others:
        block.reduce(rank.output[0], [rank.input[0]], final=True)
        return
    own = rank.id
    with block.loop(unit) if unit else contextlib.nullcontext():
        for owner in rank.others:
            block.copy(rank.scratch[owner.id], rank.input[owner.id])
        meet(block)
        contributions = [rank.input[own] if q is rank else q.scratch[own] for q in rank.plan.ranks]
        block.reduce([rank.output[own], *(q.scratch[own] for q in rank.others)], contributions, final=True)
        meet(block)
        for owner in rank.others:
            block.copy(rank.output[owner.id], rank.scratch[owner.id])
        if unit:
            block.sync()  # the next piece overwrites the slot


@algorithm(
    "all_reduce",
    name="two_phase_mapped",
    description="rank r reads slice r of all inputs and writes the result to all outputs, in one pass",
    mapped=True,
)
def two_phase_mapped(size: int) -> Plan:
    """No copy anywhere: the least memory traffic there is. In place each slice changes hands once."""
    p = PlanBuilder("all_reduce", name="two_phase_mapped", ranks=size, split=size)
    for rank in p.ranks:
        block = rank.block()
        meet(block)
        block.reduce([q.output[rank.id] for q in p.ranks], [q.input[rank.id] for q in p.ranks], final=True)
        meet(block)
    return p.build()
