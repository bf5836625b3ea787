"""scatter where every rank takes its block from the root."""

from __future__ import annotations

from hal.plan.builder import PlanBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.staging import STREAM_SLOTS, consume, produce, unit_for


@algorithm(
    "scatter",
    name="publish",
    description="the root publishes all blocks in its scratch and goes on; every other rank copies its own",
    variable=True,
)
def publish(size: int, root: int) -> Plan:
    """One message delay; the root does not wait."""
    p = PlanBuilder("scatter", name="publish", ranks=size, root=root)
    source = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if rank is not source:
            block.wait([source])
            block.copy(rank.output[0], source.scratch[rank.id])
            continue
        for peer in rank.others:
            block.copy(rank.scratch[peer.id], rank.input[peer.id])
        if rank.others:
            block.signal(rank.others)
        block.copy(rank.output[0], rank.input[root])
    return p.build()


@algorithm(
    "scatter",
    name="direct_mapped",
    description="every other rank reads its block in the root's input; the root waits until all have",
    mapped=True,
    variable=True,
)
def direct_mapped(size: int, root: int) -> Plan:
    """One copy a rank, all at the same time."""
    p = PlanBuilder("scatter", name="direct_mapped", ranks=size, root=root)
    source = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if rank is not source:
            block.wait([source])
            block.copy(rank.output[0], source.input[rank.id])
            block.signal([source])
            continue
        if rank.others:
            block.signal(rank.others)
        block.copy(rank.output[0], rank.input[root])
        if rank.others:
            block.wait(rank.others)
    return p.build()


@algorithm(
    "scatter",
    name="staged",
    description="a stream of pieces of all blocks from the root's bounded scratch, for any length",
    variable=True,
)
def staged(size: int, root: int) -> Plan:
    """The root may be some pieces ahead of the slowest."""
    unit = unit_for(chunks=size, slots=STREAM_SLOTS)
    p = PlanBuilder("scatter", name="staged", ranks=size, root=root, scratch_chunk_bytes=STREAM_SLOTS * unit)
    source = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if rank is not source:
            with consume(block, [source], unit):
                block.copy(rank.output[0], source.scratch[rank.id])
            continue
        block.copy(rank.output[0], rank.input[root])
        if rank.others:
            with produce(block, rank.others, unit):
                for peer in rank.others:
                    block.copy(rank.scratch[peer.id], rank.input[peer.id])
    return p.build()
