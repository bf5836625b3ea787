"""all_to_all where every rank deals with all others at once."""

from __future__ import annotations

import contextlib

from hal.plan.builder import PlanBuilder, RankBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.meeting import meet
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.staging import place_for, unit_for


@algorithm(
    "all_to_all",
    name="all_pairs_ll",
    description="every rank pushes each block to its receiver in packets",
)
def all_pairs_ll(size: int) -> Plan:
    """One message delay and no signal at all."""
    p = PlanBuilder("all_to_all", name="all_pairs_ll", ranks=size)
    for rank in p.ranks:
        block = rank.block()
        for peer in rank.others:
            block.copy(peer.scratch[rank.id].packets, rank.input[peer.id])
        block.copy(rank.output[rank.id], rank.input[rank.id])
        if rank.others:
            block.sync()  # in place, the input is about to be overwritten
        for peer in rank.others:
            block.copy(rank.output[peer.id], rank.scratch[peer.id].packets)
    return p.build()


@algorithm(
    "all_to_all",
    name="publish",
    description="every rank publishes its blocks in its scratch, and all copy theirs",
    variable=True,
)
def publish(size: int) -> Plan:
    """One synchronisation."""
    p = PlanBuilder("all_to_all", name="publish", ranks=size)
    for rank in p.ranks:
        _publish_and_copy(rank)
    return p.build()


@algorithm(
    "all_to_all",
    name="staged",
    description="publish piece by piece through bounded scratch, for any length",
    variable=True,
)
def staged(size: int) -> Plan:
    """One synchronisation a piece."""
    unit = unit_for(chunks=size, slots=2)
    p = PlanBuilder("all_to_all", name="staged", ranks=size, scratch_chunk_bytes=2 * unit)
    for rank in p.ranks:
        _publish_and_copy(rank, unit)
    return p.build()


def _publish_and_copy(rank: RankBuilder, unit: int | None = None) -> None:
    block = rank.block()
    block.copy(rank.output[rank.id], rank.input[rank.id])
    if not rank.others:
        return
    with block.loop(unit, slots=2) if unit else contextlib.nullcontext():
        for peer in rank.others:
            block.copy(rank.scratch[place_for(peer, rank)], rank.input[peer.id])
        meet(block)
        for peer in rank.others:
            block.copy(rank.output[peer.id], peer.scratch[place_for(rank, peer)])


@algorithm(
    "all_to_all",
    name="direct_mapped",
    description="every rank reads its blocks in the inputs of all others, and waits until its own have been read",
    mapped=True,
    variable=True,
    in_place=False,
)
def direct_mapped(size: int) -> Plan:
    """No copy but the one to the output, which therefore must not be the input."""
    p = PlanBuilder("all_to_all", name="direct_mapped", ranks=size, in_place=False)
    for rank in p.ranks:
        block = rank.block()
        meet(block)
        block.copy(rank.output[rank.id], rank.input[rank.id])
        for peer in rank.others:
            block.copy(rank.output[peer.id], peer.input[rank.id])
        meet(block)
    return p.build()
