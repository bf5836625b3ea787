"""Longer rings: what becomes of plans, and that what was proven of them still holds."""

from __future__ import annotations

import pytest

from hal.interface.dtypes import DType
from hal.plan.builder import PlanBuilder
from hal.plan.layout import Layout
from hal.plan.lower import lower, walk
from hal.plan.model import Loop, Plan
from hal.plan.stretch import stretch
from hal.plan.verify import verify

UNIT = 1024


def passing_on(slots: int = 2, *, packet: bool = False, ring: bool = True) -> Plan:
    """Rank 0 passes its input to rank 1 through a ring in its scratch, rank 1 tells when it is done."""
    p = PlanBuilder("send_recv", name="ring", ranks=2, scratch_chunk_bytes=slots * UNIT if ring else None)
    sender, receiver = p.ranks
    kept = sender.scratch[0].packets if packet else sender.scratch[0]
    block = sender.block()
    with block.loop(UNIT, slots if ring else 0):
        block.wait([receiver])
        block.copy(kept, sender.input[0])
        block.signal([receiver])
    for _ in range(slots):
        block.wait([receiver])
    block = receiver.block()
    for _ in range(slots):
        block.signal([sender])
    with block.loop(UNIT, slots if ring else 0):
        block.wait([sender])
        block.copy(receiver.output[0], kept)
        block.signal([sender])
    return p.build()


def slots(plan: Plan) -> set[int]:
    return {i.slots for rank in plan.ranks for block in rank.blocks for i in walk(block) if isinstance(i, Loop)}


def stretched(plan: Plan, nbytes: int, room: int) -> tuple[Plan, Layout]:
    return stretch(plan, Layout.uniform(plan, nbytes // 4, 4), room)


@pytest.mark.parametrize(
    ("nbytes", "room", "times"),
    [
        (2 * UNIT, 1 << 20, 1),  # it fits as it is
        (2 * UNIT + 4, 1 << 20, 2),
        (9 * UNIT, 1 << 20, 8),
        (64 * UNIT, 1 << 20, 32),
        (64 * UNIT, 8 * UNIT, 4),  # all of the room
        (64 * UNIT, 8 * UNIT - 1, 2),
        (64 * UNIT, 2 * UNIT, 1),
    ],
)
def test_a_ring_is_as_long_as_the_data_or_the_room(nbytes: int, room: int, times: int) -> None:
    plan, layout = stretched(passing_on(), nbytes, room)
    assert slots(plan) == {2 * times}
    assert layout.scratch_chunk == plan.scratch_chunk_bytes == 2 * UNIT * times
    program = lower(plan, 0, layout, DType.FLOAT32)
    assert program.scratch_bytes <= room
    assert program.scratch_reach == min(nbytes, 2 * UNIT * times)


def test_a_longer_ring_is_made_once() -> None:
    plan = passing_on()
    assert stretched(plan, 9 * UNIT, 1 << 20)[0] is stretched(plan, 10 * UNIT, 1 << 20)[0]


def two_rings() -> Plan:
    """Rings of two lengths in one chunk: if they were longer, they would share slots that they do not share."""
    p = PlanBuilder("custom", name="two", ranks=1, scratch_chunk_bytes=4 * UNIT)
    (rank,) = p.ranks
    for slots in (2, 4):
        block = rank.block()
        with block.loop(UNIT, slots):
            block.copy(rank.scratch[0], rank.input[0])
            block.copy(rank.output[0], rank.scratch[0])
    return p.build()


def beside_a_ring() -> Plan:
    """Its ring is used outside loops too."""
    p = PlanBuilder("custom", name="beside", ranks=1, scratch_chunk_bytes=2 * UNIT)
    (rank,) = p.ranks
    block = rank.block()
    with block.loop(UNIT, 2):
        block.copy(rank.scratch[0], rank.input[0])
    block.copy(rank.output[0], rank.scratch[0])
    return p.build()


@pytest.mark.parametrize(
    "plan",
    [passing_on(1), passing_on(packet=True), passing_on(ring=False), two_rings(), beside_a_ring()],
    ids=["one slot", "packets", "as long as the data", "two rings", "beside a ring"],
)
def test_others_stay_as_they_are(plan: Plan) -> None:
    assert stretched(plan, 9 * UNIT, 1 << 20)[0] is plan


def test_a_longer_ring_is_right() -> None:
    assert verify(stretched(passing_on(), 9 * UNIT, 1 << 20)[0]).ok
