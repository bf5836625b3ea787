"""reduce_scatter where every rank reduces its block of all inputs."""

from __future__ import annotations

import contextlib

from hal.plan.builder import PlanBuilder, RankBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.meeting import meet
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.staging import place_for, unit_for


@algorithm(
    "reduce_scatter",
    name="publish",
    description="every rank publishes the others' blocks in its scratch, and reduces its own from all",
    variable=True,
)
def publish(size: int) -> Plan:
    """One synchronisation."""
    p = PlanBuilder("reduce_scatter", name="publish", ranks=size)
    for rank in p.ranks:
        _publish_and_reduce(rank)
    return p.build()


@algorithm(
    "reduce_scatter",
    name="staged",
    description="publish piece by piece through bounded scratch, for any length",
    variable=True,
)
def staged(size: int) -> Plan:
    """One synchronisation a piece."""
    unit = unit_for(chunks=size, slots=2)
    p = PlanBuilder("reduce_scatter", name="staged", ranks=size, scratch_chunk_bytes=2 * unit)
    for rank in p.ranks:
        _publish_and_reduce(rank, unit)
    return p.build()


def _publish_and_reduce(rank: RankBuilder, unit: int | None = None) -> None:
    block = rank.block()
    if not rank.others:
        block.reduce(rank.output[0], [rank.input[0]], final=True)
        return
    with block.loop(unit, slots=2) if unit else contextlib.nullcontext():
        for peer in rank.others:
            block.copy(rank.scratch[place_for(peer, rank)], rank.input[peer.id])
        meet(block)
        contributions = [rank.input[rank.id] if q is rank else q.scratch[place_for(rank, q)] for q in rank.plan.ranks]
        block.reduce(rank.output[0], contributions, final=True)


@algorithm(
    "reduce_scatter",
    name="direct_mapped",
    description="every rank reads its block in all inputs, and waits until its own has been read",
    mapped=True,
    variable=True,
)
def direct_mapped(size: int) -> Plan:
    """No copy at all."""
    p = PlanBuilder("reduce_scatter", name="direct_mapped", ranks=size)
    for rank in p.ranks:
        block = rank.block()
        meet(block)
        block.reduce(rank.output[0], [q.input[rank.id] for q in p.ranks], final=True)
        meet(block)
    return p.build()
