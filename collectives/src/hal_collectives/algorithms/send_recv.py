"""send_recv: rank 0 sends its input to rank 1."""

from __future__ import annotations

from hal.plan.builder import PlanBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.meeting import meet
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.staging import PUBLISH_UNIT, STREAM_SLOTS, STREAM_UNIT, consume, in_pieces, produce

RANKS = "2 ranks"


def two(size: int) -> bool:
    """Whether these are the two ranks that a message needs."""
    return size == 2


@algorithm(
    "send_recv",
    name="publish",
    description="the sender publishes the message in its scratch and goes on; the receiver copies it",
    ranks=RANKS,
    claims=two,
)
def publish(size: int) -> Plan:
    """One message delay; the sender does not wait."""
    return _published("publish", size)


@algorithm(
    "send_recv",
    name="publish_piecewise",
    description="the sender publishes the message piece by piece in its scratch and goes on; the receiver follows",
    ranks=RANKS,
    claims=two,
)
def publish_piecewise(size: int) -> Plan:
    """One message delay, and both ranks copy at the same time; the sender does not wait."""
    return _published("publish_piecewise", size, PUBLISH_UNIT)


def _published(name: str, size: int, unit: int | None = None) -> Plan:
    p = PlanBuilder("send_recv", name=name, ranks=size)
    sender, receiver = p.ranks
    block = sender.block()
    with in_pieces(block, unit):
        block.copy(sender.scratch[0], sender.input[0])
        block.signal([receiver])
    block = receiver.block()
    with in_pieces(block, unit):
        block.wait([sender])
        block.copy(receiver.output[0], sender.scratch[0])
    return p.build()


@algorithm(
    "send_recv",
    name="direct_mapped",
    description="the receiver reads the sender's input; the sender waits until it has",
    mapped=True,
    ranks=RANKS,
    claims=two,
)
def direct_mapped(size: int) -> Plan:
    """One copy; the sender's input is in use until the receiver has come."""
    p = PlanBuilder("send_recv", name="direct_mapped", ranks=size)
    sender, receiver = p.ranks
    block = sender.block()
    block.signal([receiver])
    block.wait([receiver])
    block = receiver.block()
    block.wait([sender])
    block.copy(receiver.output[0], sender.input[0])
    block.signal([sender])
    return p.build()


@algorithm(
    "send_recv",
    name="shared_mapped",
    description="the sender writes the first half to the receiver's output, which reads the second",
    mapped=True,
    ranks=RANKS,
    claims=two,
)
def shared_mapped(size: int) -> Plan:
    """One copy, and both ranks are at it."""
    p = PlanBuilder("send_recv", name="shared_mapped", ranks=size, split=2)
    sender, receiver = p.ranks
    for rank in p.ranks:
        block = rank.block()
        meet(block)
        if rank is sender:
            block.copy(receiver.output[0], sender.input[0])
        else:
            block.copy(receiver.output[1], sender.input[1])
        meet(block)
    return p.build()


@algorithm(
    "send_recv",
    name="staged",
    description="a stream of pieces through bounded scratch, for any length",
    ranks=RANKS,
    claims=two,
)
def staged(size: int) -> Plan:
    """The sender may be some pieces ahead."""
    p = PlanBuilder("send_recv", name="staged", ranks=size, scratch_chunk_bytes=STREAM_SLOTS * STREAM_UNIT)
    sender, receiver = p.ranks
    block = sender.block()
    with produce(block, [receiver], STREAM_UNIT):
        block.copy(sender.scratch[0], sender.input[0])
    block = receiver.block()
    with consume(block, [sender], STREAM_UNIT):
        block.copy(receiver.output[0], sender.scratch[0])
    return p.build()
