"""gather where every rank's block goes straight to the root."""

from __future__ import annotations

from hal.plan.builder import PlanBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.staging import STREAM_SLOTS, consume, produce, unit_for


@algorithm(
    "gather",
    name="publish",
    description="every other rank publishes its block in its scratch and goes on; the root copies all",
    variable=True,
)
def publish(size: int, root: int) -> Plan:
    """One message delay; the root alone waits."""
    p = PlanBuilder("gather", name="publish", ranks=size, root=root)
    target = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if rank is not target:
            block.copy(rank.scratch[0], rank.input[0])
            block.signal([target])
            continue
        block.copy(rank.output[root], rank.input[0])
        if rank.others:
            block.wait(rank.others)
        for peer in rank.others:
            block.copy(rank.output[peer.id], peer.scratch[0])
    return p.build()


@algorithm(
    "gather",
    name="direct_mapped",
    description="every other rank writes its block to the root's output, once the root has come",
    mapped=True,
    variable=True,
)
def direct_mapped(size: int, root: int) -> Plan:
    """One copy a rank, all at the same time."""
    p = PlanBuilder("gather", name="direct_mapped", ranks=size, root=root)
    target = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if rank is not target:
            block.wait([target])
            block.copy(target.output[rank.id], rank.input[0])
            block.signal([target])
            continue
        if rank.others:
            block.signal(rank.others)
        block.copy(rank.output[root], rank.input[0])
        if rank.others:
            block.wait(rank.others)
    return p.build()


@algorithm(
    "gather",
    name="staged",
    description="a stream of pieces from every rank's bounded scratch to the root, for any length",
    variable=True,
)
def staged(size: int, root: int) -> Plan:
    """Every rank may be some pieces ahead of the root."""
    unit = unit_for(chunks=1, slots=STREAM_SLOTS)
    p = PlanBuilder("gather", name="staged", ranks=size, root=root, scratch_chunk_bytes=STREAM_SLOTS * unit)
    target = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if rank is not target:
            with produce(block, [target], unit):
                block.copy(rank.scratch[0], rank.input[0])
            continue
        block.copy(rank.output[root], rank.input[0])
        if rank.others:
            with consume(block, rank.others, unit):
                for peer in rank.others:
                    block.copy(rank.output[peer.id], peer.scratch[0])
    return p.build()
