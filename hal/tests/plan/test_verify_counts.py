"""Plans that are right at some counts and wrong at others: by parts, lengths of chunks, numbers of pieces.

Every wrong one is refused, and where the reference can show it, a schedule at some count breaks it.
"""

import numpy as np
import pytest

from hal.plan import PlanBuilder
from hal.plan.findings import Code
from hal.plan.verify import verify
from hal.reference import Deadlock, run

from .attacking import UNIT, codes, is_right, is_wrong, outcomes, pair

# -- parts of moves


def copied_in_parts(parts, of):
    p = PlanBuilder("all_reduce", name="parts", ranks=1)
    (rank,) = p.ranks
    for number in range(parts):
        rank.block().reduce(rank.output[0], [rank.input[0]], final=True, part=(number, of))
    return p.build()


@pytest.mark.parametrize("of", [2, 3, 7, 16])
def test_a_part_that_short_chunks_do_not_have(of):
    is_right(copied_in_parts(of, of), 1, 1000)
    is_wrong(copied_in_parts(of - 1, of), Code.WRONG_RESULT)


def cut_twice(even, ordered):
    """Four blocks take quarters of a range of two chunks, then the halves of each: the same bytes at some counts."""
    p = PlanBuilder("all_reduce", name="cut", ranks=1, split=2, even=even)
    (rank,) = p.ranks
    for number in range(4):
        block = rank.block()
        block.copy(rank.output[0:2], rank.input[0:2], part=(number, 4))
        block.sync()
        if ordered:
            block.barrier(0, 4)
        chunk, half = divmod(number, 2)
        block.reduce(rank.output[chunk], [rank.output[chunk]], final=True, part=(half, 2))
    return p.build()


@pytest.mark.parametrize("even", [False, True])
def test_ranges_cut_in_two_ways(even):
    is_right(cut_twice(even, ordered=True), 32, 96)
    is_wrong(cut_twice(even, ordered=False), Code.DATA_RACE)


def test_so_many_ways_of_cutting_that_they_are_not_examined():
    p = PlanBuilder("all_reduce", name="cut", ranks=1, split=2, even=True)
    (rank,) = p.ranks
    block = rank.block()
    for number in range(61):
        block.reduce(rank.output[0:2], [rank.input[0:2]], final=True, part=(number, 61))
    block.sync()
    for chunk in range(2):
        for number in range(59):
            block.copy(rank.scratch[chunk], rank.output[chunk], part=(number, 59))
    assert codes(p.build()) == {Code.TOO_LARGE}


def test_a_ring_begins_where_its_part_does():
    p = PlanBuilder("all_reduce", name="ring", ranks=1, scratch_chunk_bytes=2 * UNIT)
    (rank,) = p.ranks
    for number in range(2):
        block = rank.block()
        with block.loop(UNIT, slots=2):
            block.copy(rank.scratch[number], rank.input[0], part=(number, 2))
            block.sync()
            block.reduce(rank.output[0], [rank.scratch[number]], final=True, part=(number, 2))
            block.sync()
    is_wrong(p.build(), Code.OUT_OF_BOUNDS)
    assert "PlanError" in outcomes(p.build(), 2000, seeds=1)


@pytest.mark.parametrize("align", [2, 4])
def test_parts_that_begin_inside_a_packet(align):
    p, a, b = pair(align=align)
    a.block().copy(a.output[0], a.input[0])
    for number in range(2):
        a.block().copy(b.scratch[0].packets, a.input[0], part=(number, 2))
        b.block().copy(b.output[0], b.scratch[0].packets, part=(number, 2))
    if align == 4:
        is_right(p.build(), 5, dtype=np.int16)
    else:
        is_wrong(p.build(), Code.OUT_OF_BOUNDS)


# -- lengths of chunks


def test_ranges_whose_lengths_differ_at_some_counts():
    p = PlanBuilder("all_reduce", name="lengths", ranks=1, split=4)
    (rank,) = p.ranks
    block = rank.block()
    block.copy(rank.output[0], rank.input[1])
    block.sync()
    block.reduce(rank.output[0:4], [rank.input[0:4]], final=True)
    is_wrong(p.build(), Code.OUT_OF_BOUNDS)
    assert "PlanError" in outcomes(p.build(), 70, seeds=1)


def test_more_data_than_scratch_at_some_counts():
    p = PlanBuilder("all_reduce", name="room", ranks=1, split=3)
    (rank,) = p.ranks
    block = rank.block()
    block.copy(rank.scratch[1], rank.input[1:3])
    block.sync()
    block.reduce(rank.output[1:3], [rank.scratch[1]], final=True)
    block.reduce(rank.output[0], [rank.input[0]], final=True)
    is_wrong(p.build(), Code.OUT_OF_BOUNDS)
    assert "PlanError" in outcomes(p.build(), 117, seeds=1)


@pytest.mark.parametrize("align", [32, 64, 128, 256])
def test_a_dense_range_of_scratch_read_by_chunks(align):
    p = PlanBuilder("all_reduce", name="dense", ranks=1, split=4, align=align)
    (rank,) = p.ranks
    block = rank.block()
    block.copy(rank.scratch[1:3], rank.input[1:3])
    block.sync()
    block.reduce(rank.output[1], [rank.scratch[1]], final=True)
    block.reduce(rank.output[2], [rank.scratch[2]], final=True)
    block.reduce(rank.output[0], [rank.input[0]], final=True)
    block.reduce(rank.output[3], [rank.input[3]], final=True)
    assert not verify(p.build()).ok
    whole = 4 * align // 4
    wrong = outcomes(p.build(), whole + 1, seeds=1)
    data = (np.arange(whole + 1) % 997 + 1000).astype(np.int32)
    assert wrong != {data.tobytes()}


def test_a_count_of_less_than_one_element_a_chunk():
    p = PlanBuilder("all_gather", name="short", ranks=2, split=8, in_place=False)
    for rank in p.ranks:
        block = rank.block()
        for piece in range(8):
            block.copy(rank.scratch[piece], rank.input[piece])
            block.copy(rank.output[8 * rank.id + piece], rank.input[piece])
        block.signal(rank.others)
        block.wait(rank.others)
        for other in rank.others:
            for piece in range(8):
                block.copy(rank.output[8 * other.id + piece], other.scratch[piece])
    is_right(p.build(), 1, 3, 200)


# -- numbers of pieces


def test_a_loop_without_pieces_orders_nothing():
    """The chunk outside of the loop has data at counts at which the one inside has none."""

    def plan(alone):
        p, a, b = pair(split=2)
        one, two = a.block(), b.block()
        one.copy(a.output[0:2], a.input[0:2])
        one.copy(b.scratch[0], a.input[0])
        if not alone:
            one.signal([b])
            two.wait([a])
        with one.loop(UNIT, slots=0):
            one.copy(b.scratch[1], a.input[1])
            one.signal([b])
        with two.loop(UNIT, slots=0):
            two.wait([a])
            two.copy(b.output[1], b.scratch[1])
        two.copy(b.output[0], b.scratch[0])
        return p.build()

    is_right(plan(alone=False), 1, 500)
    refused = verify(plan(alone=True))
    assert {f.code for f in refused.findings} <= {Code.DATA_RACE, Code.UNWRITTEN_READ}
    assert not refused.ok
    assert len(outcomes(plan(alone=True), 1)) > 1
    assert len(outcomes(plan(alone=True), 500)) == 1


def test_what_only_a_second_piece_orders():
    """The first wait of the loop takes the signal from before it; the second covers what was written in between."""
    p, a, b = pair(split=2)
    one, two = a.block(), b.block()
    one.signal([b])
    one.copy(a.output[0:2], a.input[0:2])
    one.copy(b.scratch[0], a.input[0])
    with one.loop(UNIT, slots=0):
        one.copy(b.scratch[1], a.input[1])
        one.signal([b])
    with two.loop(UNIT, slots=0):
        two.wait([a])
    two.copy(b.output[0], b.scratch[0])
    two.wait([a])
    two.copy(b.output[1], b.scratch[1])
    plan = p.build()
    assert not verify(plan).ok
    assert len(outcomes(plan, 2 * UNIT // 4 - 8)) > 1


def test_a_lead_that_pieces_use_up():
    """Two signals a piece serve two loops after each other: the first runs ahead, by as much as was waited before."""
    lead = 6
    p, a, b = pair()
    one, two = a.block(), b.block()
    one.copy(a.output[0], a.input[0])
    with one.loop(UNIT, slots=0):
        one.copy(b.scratch[0], a.input[0])
        one.signal([b])
        one.signal([b])
    for _ in range(lead):
        one.signal([b])
        two.wait([a])
    with two.loop(UNIT, slots=0):
        two.wait([a])
        two.copy(b.output[0], b.scratch[0])
    with two.loop(UNIT, slots=0):
        two.wait([a])
    plan = p.build()
    assert not verify(plan).ok
    assert len(outcomes(plan, (lead + 4) * UNIT // 4)) > 1


def test_a_semaphore_that_pieces_use_up():
    p = PlanBuilder("all_reduce", name="credits", ranks=1)
    (rank,) = p.ranks
    credit = rank.semaphore(5)
    one, two = rank.block(), rank.block()
    with one.loop(UNIT):
        one.acquire(credit)
        one.acquire(credit)
        one.reduce(rank.output[0], [rank.input[0]], final=True)
    with two.loop(UNIT):
        two.release(credit)
    is_wrong(p.build(), Code.DEADLOCK)
    with pytest.raises(Deadlock):
        run(p.build(), [np.arange(6 * UNIT // 4, dtype=np.int32)])


def test_reading_in_the_last_piece_what_its_owner_then_uses_again():
    """Chunk 1 is read after the last signal of its piece. Where chunk 0 has a piece more, its signal comes to help."""
    p, a, b = pair(split=2)
    one, two = a.block(), b.block()
    one.copy(a.output[0:2], a.input[0:2])
    one.signal([b])
    two.wait([a])
    with one.loop(UNIT):
        one.signal([b])
        one.wait([b])
    with two.loop(UNIT):
        two.wait([a])
        two.copy(b.output[0], a.output[0])
        two.signal([a])
        two.copy(b.output[1], a.output[1])
    plan = p.build()
    is_wrong(plan, Code.LAUNCH_ORDER)
    assert len(outcomes(plan, 2 * UNIT // 4)) > 1


@pytest.mark.parametrize("credits", [1, 2, 3])
def test_credits_are_as_many_as_slots(credits):
    p = PlanBuilder("all_reduce", name="ring", ranks=1, scratch_chunk_bytes=2 * UNIT)
    (rank,) = p.ranks
    empty, full = rank.semaphore(credits), rank.semaphore()
    one, two = rank.block(), rank.block()
    with one.loop(UNIT, slots=2):
        one.acquire(empty)
        one.copy(rank.scratch[0], rank.input[0])
        one.release(full)
    with two.loop(UNIT, slots=2):
        two.acquire(full)
        two.reduce(rank.output[0], [rank.scratch[0]], final=True)
        two.release(empty)
    if credits < 3:
        is_right(p.build(), 1, 1000)
    else:
        is_wrong(p.build(), Code.DATA_RACE)
        assert len(outcomes(p.build(), 1000)) > 1


@pytest.mark.parametrize("meets", [True, False])
def test_a_barrier_in_a_loop(meets):
    p = PlanBuilder("all_reduce", name="barrier", ranks=1, scratch_chunk_bytes=UNIT)
    (rank,) = p.ranks
    one, two = rank.block(), rank.block()
    for block, end in ((one, True), (two, meets)):
        with block.loop(UNIT):
            if block is one:
                block.copy(rank.scratch[0], rank.input[0])
            block.barrier(0, 2)
            if block is two:
                block.reduce(rank.output[0], [rank.scratch[0]], final=True)
            if end and meets:
                block.barrier(1, 2)
    if meets:
        is_right(p.build(), 1, 1000)
    else:
        is_wrong(p.build(), Code.DATA_RACE)
        assert len(outcomes(p.build(), 1000)) > 1


def test_two_loops_of_different_units():
    p, a, b = pair(split=2, scratch_chunk_bytes=UNIT)
    one, two = a.block(), b.block()
    one.copy(a.output[0:2], a.input[0:2])
    for chunk, unit in enumerate((UNIT, UNIT // 2)):
        with one.loop(unit):
            one.copy(b.scratch[chunk], a.input[chunk])
            one.signal([b])
            one.wait([b])
        with two.loop(unit):
            two.wait([a])
            two.copy(b.output[chunk], b.scratch[chunk])
            two.signal([a])
    is_right(p.build(), 1, 700)
