"""all_gather where every rank takes the blocks from all others."""

from __future__ import annotations

from hal.plan.builder import PlanBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.meeting import meet
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.staging import unit_for


@algorithm(
    "all_gather",
    name="publish",
    description="every rank publishes its block in its scratch, and all copy all",
    variable=True,
)
def publish(size: int) -> Plan:
    """One synchronisation."""
    p = PlanBuilder("all_gather", name="publish", ranks=size)
    for rank in p.ranks:
        block = rank.block()
        if not rank.others:
            block.copy(rank.output[0], rank.input[0])
            continue
        block.copy([rank.scratch[0], rank.output[rank.id]], rank.input[0])
        meet(block)
        for peer in rank.others:
            block.copy(rank.output[peer.id], peer.scratch[0])
    return p.build()


@algorithm(
    "all_gather",
    name="direct_mapped",
    description="all read the inputs of all others, and wait until theirs has been read",
    mapped=True,
    variable=True,
)
def direct_mapped(size: int) -> Plan:
    """No copy but the one to the output."""
    p = PlanBuilder("all_gather", name="direct_mapped", ranks=size)
    for rank in p.ranks:
        block = rank.block()
        # first, since in place this writes what the others read
        block.copy(rank.output[rank.id], rank.input[0])
        if rank.others:
            meet(block)
            for peer in rank.others:
                block.copy(rank.output[peer.id], peer.input[0])
            meet(block)
    return p.build()


@algorithm(
    "all_gather",
    name="staged",
    description="publish piece by piece through bounded scratch, for any length",
    variable=True,
)
def staged(size: int) -> Plan:
    """One synchronisation a piece."""
    unit = unit_for(chunks=1, slots=2)
    p = PlanBuilder("all_gather", name="staged", ranks=size, scratch_chunk_bytes=2 * unit)
    for rank in p.ranks:
        block = rank.block()
        if not rank.others:
            block.copy(rank.output[0], rank.input[0])
            continue
        with block.loop(unit, slots=2):
            block.copy([rank.scratch[0], rank.output[rank.id]], rank.input[0])
            meet(block)
            for peer in rank.others:
                block.copy(rank.output[peer.id], peer.scratch[0])
    return p.build()
