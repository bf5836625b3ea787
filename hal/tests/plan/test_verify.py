"""Findings of the verifier within a launch: a plan that has each, where it is said to be, and the plan mended."""

import dataclasses

import pytest

from hal.interface.dtypes import ReduceOp
from hal.plan import Barrier, Move, Plan, RankPlan, Span, Wait
from hal.plan.verify import Code, verify

from .verifying import INPUT, OUTPUT, builder, codes, exchange, only


def test_a_right_plan_is_proven():
    for plan in (exchange(), exchange(second=False)):
        report = verify(plan)
        assert report.ok
        assert "proven" in str(report)
        assert report.steps > 0
        assert "in place" in report.layouts[0]


def test_a_race_names_both_sides_the_bytes_and_the_reason():
    found = verify(exchange(first=False)).findings
    assert {f.code for f in found} == {Code.DATA_RACE, Code.UNWRITTEN_READ}
    finding = next(f for f in found if f.code is Code.DATA_RACE)
    assert "scratch of rank" in finding.message
    assert "bytes 0 to" in finding.message
    assert "no chain of signals" in finding.message
    writing, reading = finding.where
    assert {writing.rank, reading.rank} == {0, 1}
    assert {writing.path, reading.path} == {(0,), (2,)}
    assert "verifying.py:" in writing.source
    assert "scratch[0]" in reading.text
    assert writing.block == reading.block == 0


def test_relaxed_signals_make_nothing_visible():
    assert "relaxed signals order them in time" in only(exchange(relaxed=True), Code.DATA_RACE)[0].message


def test_moves_of_a_block_need_a_sync():
    def plan(sync):
        p = builder(ranks=1)
        (rank,) = p.ranks
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        if sync:
            block.sync()
        block.reduce(rank.output[0], [rank.scratch[0]], final=True)
        return p.build()

    assert verify(plan(True)).ok
    (finding,) = only(plan(False), Code.MISSING_SYNC)
    assert [w.path for w in finding.where] == [(0,), (1,)]


def test_overwriting_what_a_move_of_the_same_block_read_needs_a_sync_too():
    p = builder("all_to_all")
    for rank in p.ranks:
        block = rank.block()
        (other,) = rank.others
        block.copy(other.scratch[0].packets, rank.input[other.id])
        block.copy(rank.output[rank.id], rank.input[rank.id])
        block.copy(rank.output[other.id], rank.scratch[0].packets)
    finding = only(p.build(), Code.MISSING_SYNC)[0]
    assert finding.sharing == "in place"
    assert verify(dataclasses.replace(p.build(), in_place=False)).ok


def test_blocks_of_one_rank_are_ordered_by_barriers_alone():
    def plan(barrier):
        p = builder(ranks=1)
        (rank,) = p.ranks
        one, two = rank.block(), rank.block()
        one.copy(rank.scratch[0], rank.input[0])
        if barrier:
            one.barrier(0, 2)
            two.barrier(0, 2)
        two.reduce(rank.output[0], [rank.scratch[0]], final=True)
        return p.build()

    assert verify(plan(True)).ok
    only(plan(False), Code.DATA_RACE)


def test_semaphores_order_blocks():
    def plan(release_first):
        p = builder(ranks=1)
        (rank,) = p.ranks
        semaphore = rank.semaphore()
        one, two = rank.block(), rank.block()
        if release_first:
            one.release(semaphore)
        one.copy(rank.scratch[0], rank.input[0])
        if not release_first:
            one.release(semaphore)
        two.acquire(semaphore)
        two.reduce(rank.output[0], [rank.scratch[0]], final=True)
        return p.build()

    assert verify(plan(False)).ok
    only(plan(True), Code.DATA_RACE)


def test_an_initial_count_of_a_semaphore_orders_nothing():
    p = builder(ranks=1)
    (rank,) = p.ranks
    semaphore = rank.semaphore(1)
    one, two = rank.block(), rank.block()
    one.copy(rank.scratch[0], rank.input[0])
    one.release(semaphore)
    two.acquire(semaphore)
    two.reduce(rank.output[0], [rank.scratch[0]], final=True)
    two.acquire(semaphore)
    assert {Code.DATA_RACE} == set(codes(p.build()))


def test_a_deadlock_names_its_circle():
    p = builder()
    for rank in p.ranks:
        block = rank.block()
        block.wait(rank.others)
        block.signal(rank.others)
        block.reduce(rank.output[0], [rank.input[0]], final=True)
    (finding,) = only(p.build(), Code.DEADLOCK)
    assert "2 blocks wait for each other" in finding.message
    assert [(w.rank, w.path) for w in finding.where] == [(0, (0,)), (1, (0,))]


def test_packets_that_never_come_are_a_deadlock():
    p = builder(ranks=1)
    (rank,) = p.ranks
    rank.block().copy(rank.output[0], rank.scratch[0].packets)
    (finding,) = only(p.build(), Code.DEADLOCK)
    assert "packets in scratch of rank 0" in finding.message


def test_unmatched_signals_and_barriers_are_findings_and_no_exceptions():
    p = builder()
    p.ranks[0].block().signal([p.ranks[1]])
    (finding,) = only(p.build(), Code.UNMATCHED_SIGNAL)
    assert "1 signals" in finding.message
    block = Barrier(0, 2)
    plan = Plan("p", "all_reduce", (RankPlan(1, 1, 0, ((block,),)),))
    only(plan, Code.UNMATCHED_BARRIER)


def test_out_of_bounds_and_malformed_name_the_instruction():
    move = Move((Span(OUTPUT, 1),), (Span(INPUT, 0),))
    (finding,) = only(Plan("p", "all_reduce", (RankPlan(1, 1, 0, ((move,),)),)), Code.OUT_OF_BOUNDS)
    assert (finding.where[0].rank, finding.where[0].block, finding.where[0].path) == (0, 0, (0,))
    only(Plan("p", "all_reduce", (RankPlan(1, 1, 0, ((Wait((3,)),),)),)), Code.MALFORMED)


def test_scratch_that_a_loop_outgrows():
    p = builder(ranks=1, scratch_chunk_bytes=4096)
    (rank,) = p.ranks
    block = rank.block()
    with block.loop(4096, slots=2):
        block.copy(rank.scratch[0], rank.input[0])
        block.sync()
        block.reduce(rank.output[0], [rank.scratch[0]], final=True)
    assert "do not fit" in only(p.build(), Code.OUT_OF_BOUNDS)[0].message


def test_reading_what_nothing_has_written():
    p = builder(ranks=1)
    (rank,) = p.ranks
    rank.block().reduce(rank.output[0], [rank.input[0], rank.scratch[0]], final=True)
    (finding,) = only(p.build(), Code.UNWRITTEN_READ)
    assert "scratch of rank 0" in finding.message


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([0], "holds input[0] of rank 0, divided for an average; promised is input[0] of ranks 0, 1"),
        ([0, 1, 1], "holds input[0] of ranks 0, 1 (2 times), divided for an average; promised is"),
    ],
)
def test_contributions_are_counted_exactly(sources, message):
    p = builder()
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
        block.reduce(rank.output[0], [p.ranks[q].scratch[0] for q in sources], final=True)
    assert message in only(p.build(), Code.WRONG_RESULT)[0].message


def test_nothing_written_to_an_output():
    finding = only(builder(ranks=1).build(), Code.WRONG_RESULT)[0]
    assert "it was never written" in finding.message


def test_an_operation_that_does_not_mind_repetitions():
    def plan(op):
        p = builder(ranks=1)
        (rank,) = p.ranks
        rank.block().move(rank.output[0], [rank.input[0], rank.input[0]], op, final=True)
        return p.build()

    assert verify(plan(ReduceOp.MAX)).ok
    only(plan(ReduceOp.SUM), Code.WRONG_RESULT)
    only(plan(None), Code.WRONG_RESULT)


def test_an_average_is_divided_once():
    def plan(*finals):
        p = builder(ranks=1)
        (rank,) = p.ranks
        block = rank.block()
        block.reduce(rank.scratch[0], [rank.input[0]], final=finals[0])
        block.sync()
        block.reduce(rank.output[0], [rank.scratch[0]], final=finals[1])
        return p.build()

    assert verify(plan(True, False)).ok
    assert verify(plan(False, True)).ok
    assert "no move is marked final" in only(plan(False, False), Code.WRONG_RESULT)[0].message
    only(plan(True, True), Code.WRONG_RESULT)


def test_blocks_of_the_wrong_ranks():
    p = builder("all_gather")
    for rank in p.ranks:
        block = rank.block()
        block.copy([rank.output[0], rank.output[1]], rank.input[0])
    plan = dataclasses.replace(p.build(), in_place=False)
    messages = [finding.message for finding in only(plan, Code.WRONG_RESULT)]
    assert any("output[1] of rank 0" in m and "promised is input[0] of rank 1" in m for m in messages)


def test_locks_let_blocks_take_turns_in_any_order():
    def plan(*, back=True, waits=False):
        p = builder(ranks=1, split=2)
        (rank,) = p.ranks
        lock, other = rank.semaphore(1), rank.semaphore(1)
        for number in range(2):
            block = rank.block()
            block.acquire(lock)
            block.reduce(rank.output[number], [rank.input[number]], final=True)
            if waits:
                block.acquire(other)
                block.release(other)
            if back:
                block.release(lock)
        return p.build()

    assert verify(plan()).ok
    only(plan(waits=True), Code.CONTENDED)
    assert Code.DEADLOCK in codes(plan(back=False))


def test_a_lock_orders_nothing():
    p = builder(ranks=1)
    (rank,) = p.ranks
    lock = rank.semaphore(1)
    for number in range(2):
        block = rank.block()
        block.acquire(lock)
        if number:
            block.reduce(rank.output[0], [rank.scratch[0]], final=True)
        else:
            block.copy(rank.scratch[0], rank.input[0])
        block.release(lock)
    assert Code.DATA_RACE in codes(p.build())
