"""broadcast where all ranks take the message from the root."""

from __future__ import annotations

from hal.plan.builder import PlanBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.meeting import meet
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.staging import PUBLISH_UNIT, STREAM_SLOTS, STREAM_UNIT, consume, in_pieces, produce


@algorithm(
    "broadcast",
    name="publish",
    description="the root publishes the message in its scratch and goes on; all others copy it",
)
def publish(size: int, root: int) -> Plan:
    """One message delay; the root does not wait."""
    return _published("publish", size, root)


@algorithm(
    "broadcast",
    name="publish_piecewise",
    description="the root publishes the message piece by piece in its scratch and goes on; all others follow",
)
def publish_piecewise(size: int, root: int) -> Plan:
    """One message delay, and all ranks copy at the same time; the root does not wait."""
    return _published("publish_piecewise", size, root, PUBLISH_UNIT)


def _published(name: str, size: int, root: int, unit: int | None = None) -> Plan:
    p = PlanBuilder("broadcast", name=name, ranks=size, root=root)
    source = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if not rank.others:
            block.copy(rank.output[0], rank.input[0])
            continue
        with in_pieces(block, unit):
            if rank is source:
                block.copy([rank.scratch[0], rank.output[0]], rank.input[0])
                block.signal(rank.others)
            else:
                block.wait([source])
                block.copy(rank.output[0], source.scratch[0])
    return p.build()


@algorithm(
    "broadcast",
    name="direct_mapped",
    description="all others read the root's input; the root waits until they have",
    mapped=True,
)
def direct_mapped(size: int, root: int) -> Plan:
    """One copy a rank."""
    p = PlanBuilder("broadcast", name="direct_mapped", ranks=size, root=root)
    source = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if rank is not source:
            block.wait([source])
            block.copy(rank.output[0], source.input[0])
            block.signal([source])
            continue
        meet(block)
        # last, since in place this writes what the others read
        block.copy(rank.output[0], rank.input[0])
    return p.build()


@algorithm(
    "broadcast",
    name="shared_mapped",
    description="the root writes a part of all outputs, and all others read the rest",
    mapped=True,
)
def shared_mapped(size: int, root: int) -> Plan:
    """One copy a rank, and the root does its share of them."""
    p = PlanBuilder("broadcast", name="shared_mapped", ranks=size, root=root, split=size)
    source = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if rank.others:
            meet(block)
        if rank is not source:
            block.copy(rank.output[1:size], source.input[1:size])
        elif rank.others:
            block.copy([peer.output[0] for peer in rank.others], rank.input[0])
        if rank.others:
            meet(block)
        if rank is source:
            # last, since in place this writes what the others read
            block.copy(rank.output[0:size], rank.input[0:size])
    return p.build()


@algorithm(
    "broadcast",
    name="staged",
    description="a stream of pieces from the root's bounded scratch, for any length",
)
def staged(size: int, root: int) -> Plan:
    """The root may be some pieces ahead of the slowest."""
    p = PlanBuilder("broadcast", name="staged", ranks=size, root=root, scratch_chunk_bytes=STREAM_SLOTS * STREAM_UNIT)
    source = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if rank is not source:
            with consume(block, [source], STREAM_UNIT):
                block.copy(rank.output[0], source.scratch[0])
        elif rank.others:
            with produce(block, rank.others, STREAM_UNIT):
                block.copy([rank.scratch[0], rank.output[0]], rank.input[0])
        else:
            block.copy(rank.output[0], rank.input[0])
    return p.build()
