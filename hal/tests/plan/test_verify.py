"""Each finding of the verifier: a plan that has it, where it is said to be, and the same plan mended."""

import dataclasses
import json

import pytest

from hal.interface.dtypes import ReduceOp
from hal.plan import Barrier, Channel, ChannelKind, Move, Plan, PlanBuilder, Post, RankPlan, Signal, Span, Wait
from hal.plan.model import BufferKind
from hal.plan.verify import Code, Limits, verify

INPUT, OUTPUT, SCRATCH = BufferKind.INPUT, BufferKind.OUTPUT, BufferKind.SCRATCH


def builder(collective="all_reduce", ranks=2, **options):
    return PlanBuilder(collective, name="tested", ranks=ranks, **options)


def exchange(*, first=True, second=True, relaxed=False, **options):
    """all_reduce through scratch; without `first` or `second` it lacks the meeting before or after the reading."""
    p = builder(**options)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        if first:
            block.signal(rank.others, relaxed=relaxed)
            block.wait(rank.others, relaxed=relaxed)
        else:
            block.sync()
        block.reduce(rank.output[0], [q.scratch[0] for q in p.ranks], final=True)
        if second:
            block.signal(rank.others)
            block.wait(rank.others)
    return p.build()


def codes(plan, **options):
    return [finding.code for finding in verify(plan, **options).findings]


def only(plan, code):
    """The findings of a plan, which all have this code."""
    report = verify(plan)
    assert {finding.code for finding in report.findings} == {code}, str(report)
    assert not report.ok
    return report.findings


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
    assert "test_verify.py:" in writing.source
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


def direct(before, after):
    """all_gather by reading the others' inputs, with or without a meeting before and after."""
    p = builder("all_gather")
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.output[rank.id], rank.input[0])
        if before:
            block.signal(rank.others)
            block.wait(rank.others)
        for other in rank.others:
            block.copy(rank.output[other.id], other.input[0])
        if after:
            block.signal(rank.others)
            block.wait(rank.others)
    return dataclasses.replace(p.build(), in_place=False)


def test_ranks_one_launch_apart():
    assert verify(direct(before=True, after=True)).ok
    assert "may not have begun" in only(direct(before=False, after=True), Code.LAUNCH_ORDER)[0].message
    assert "when rank 0 has ended" in only(direct(before=True, after=False), Code.LAUNCH_ORDER)[0].message


def test_a_relaxed_signal_suffices_for_the_end_of_a_launch():
    plan = direct(before=True, after=True)
    relaxed = [
        dataclasses.replace(
            rank,
            blocks=tuple(
                tuple(dataclasses.replace(i, relaxed=True) if isinstance(i, Signal | Wait) else i for i in block)
                for block in rank.blocks
            ),
        )
        for rank in plan.ranks
    ]
    assert verify(dataclasses.replace(plan, ranks=tuple(relaxed))).ok


def test_packets_are_written_once_in_a_launch():
    p = builder(ranks=1, scratch_chunk_bytes=128)
    (rank,) = p.ranks
    block = rank.block()
    with block.loop(128):
        block.copy(rank.scratch[0].packets, rank.input[0])
        block.sync()
        block.reduce(rank.output[0], [rank.scratch[0].packets], final=True)
    assert Code.PACKET_REUSE in codes(p.build())


def test_packets_and_plain_data_do_not_share_scratch():
    p = builder(ranks=1)
    (rank,) = p.ranks
    block = rank.block()
    block.copy(rank.scratch[0].packets, rank.input[0])
    block.copy(rank.scratch[1], rank.input[0])
    block.sync()
    block.reduce(rank.output[0], [rank.scratch[0].packets], final=True)
    assert codes(p.build()) == [Code.PACKET_OVERLAP]


def test_a_channel_serves_blocks_that_are_ordered():
    p = builder("custom", input_chunks=2, output_chunks=2)
    a, b = p.ranks
    for number in range(2):
        block = a.block()
        block.copy(a.scratch[number], a.input[number])
        block.signal([b], channel=0)
    reader = b.block()
    for number in range(2):
        reader.wait([a], channel=0)
        reader.copy(b.output[number], a.scratch[number])
    assert Code.CONTENDED in codes(p.build())


def test_a_wait_for_all_signals_knows_whose_they_are():
    p = builder("custom", input_chunks=2, output_chunks=2)
    a, b = p.ranks
    for number in range(2):
        block = a.block()
        block.copy(a.scratch[number], a.input[number])
        block.signal([b], channel=0)
    reader = b.block()
    reader.wait([a], channel=0)
    reader.wait([a], channel=0)
    for number in range(2):
        reader.copy(b.output[number], a.scratch[number])
    assert codes(p.build()) == [Code.CONTENDED]


def test_posts_are_read_until_they_are_flushed():
    def plan(flush):
        p = builder("custom", input_chunks=1, output_chunks=1, even=True)
        a, b = p.ranks
        block = a.block()
        block.copy(a.scratch[0], a.input[0])
        block.post(b.scratch[1], a.scratch[0], signal=True, flush=flush)
        block.copy(a.scratch[0], a.input[0])
        other = b.block()
        other.wait([a], port=True)
        other.copy(b.output[0], b.scratch[1])
        return p.build()

    assert verify(plan(True)).ok
    only(plan(False), Code.DATA_RACE)


def test_a_signal_overtakes_no_post():
    p = builder("custom", input_chunks=1, output_chunks=1)
    a, b = p.ranks
    block = a.block()
    block.post(b.scratch[0], a.input[0])
    block.signal([b], port=True)
    other = b.block()
    other.wait([a], port=True)
    other.copy(b.output[0], b.scratch[0])
    assert verify(p.build()).ok


def test_a_port_reaches_memory_of_a_rank_that_may_not_have_begun():
    post = Post(0, Span(OUTPUT, 0), Span(INPUT, 0), signal=True)
    ranks = (
        RankPlan(1, 0, 0, ((post,),), (Channel(ChannelKind.PORT, (1,)),)),
        RankPlan(0, 1, 0, ((Wait((0,)),),), (Channel(ChannelKind.PORT, (0,)),)),
    )
    assert {Code.LAUNCH_ORDER} == set(codes(Plan("p", "send_recv", ranks)))


def test_switches_reduce_and_store_for_all():
    def plan(meet):
        blocks = []
        for chunk in (0, 1):
            switch = Span(OUTPUT, chunk, switch=1)
            meeting = [Signal((0,)), Wait((0,))] if meet else []
            blocks.append((*meeting, Move((switch,), (switch,), final=True), *meeting))
        ranks = tuple(
            RankPlan(
                2,
                2,
                0,
                (blocks[r],),
                (Channel(ChannelKind.MEMORY, (1 - r,)), Channel(ChannelKind.SWITCH, (0, 1))),
            )
            for r in (0, 1)
        )
        return Plan("p", "all_reduce", ranks, split=2, aliased=True)

    assert verify(plan(True)).ok
    assert Code.LAUNCH_ORDER in codes(plan(False))


def test_an_input_is_left_as_it_was():
    p = builder(ranks=1)
    (rank,) = p.ranks
    block = rank.block()
    block.reduce(rank.output[0], [rank.input[0]], final=True)
    block.sync()
    block.move(rank.input[0], [rank.input[0], rank.input[0]], ReduceOp.SUM)
    assert Code.INPUT_OVERWRITTEN in codes(dataclasses.replace(p.build(), in_place=False))


def test_moving_within_what_is_shared_in_place():
    p = builder("all_to_all", split=2)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.output[0:2], rank.input[1:3])
    assert Code.SELF_OVERLAP in codes(p.build())


def test_dense_ranges_of_scratch_are_no_chunks():
    p = builder(ranks=1, split=2)
    (rank,) = p.ranks
    block = rank.block()
    block.copy(rank.scratch[0:2], rank.input[0:2])
    block.sync()
    for chunk in (0, 1):
        block.reduce(rank.output[chunk], [rank.scratch[chunk]], final=True)
    assert not verify(p.build()).ok


def test_a_barrier_waits_for_all():
    p = builder("barrier")
    assert "may leave the barrier" in only(p.build(), Code.WRONG_RESULT)[0].message
    for rank in p.ranks:
        block = rank.block()
        block.signal(rank.others)
        block.wait(rank.others)
    assert verify(p.build()).ok


def test_limits_of_a_device():
    plan = exchange(ranks=4)
    assert verify(plan, limits=Limits(blocks=1, operands=5, channels=3)).ok
    report = verify(plan, limits=Limits(operands=4, channels_at_once=2))
    assert [f.code for f in report.findings] == [Code.RESOURCE_LIMIT] * 2
    assert "uses 5 operands, the device has 4" in report.findings[0].message


def test_plans_beyond_measure_are_refused_at_once():
    p = builder(ranks=1, scratch_chunk_bytes=1 << 30)
    (rank,) = p.ranks
    block = rank.block()
    with block.loop(64):
        block.copy(rank.scratch[0], rank.input[0])
    with block.loop(1 << 39):
        block.copy(rank.scratch[0], rank.input[0])
    assert Code.TOO_LARGE in codes(p.build())


def test_the_report_as_json():
    report = verify(exchange(first=False))
    facts = json.loads(json.dumps(report.facts()))
    assert facts["ok"] is False
    finding = facts["findings"][0]
    assert finding["code"] in ("data-race", "unwritten-read")
    assert {"rank", "block", "instruction", "text", "source", "piece"} == finding["where"][0].keys()


def test_a_race_in_every_piece_is_reported_once():
    p = builder("all_gather", scratch_chunk_bytes=4096)
    for rank in p.ranks:
        block = rank.block()
        with block.loop(2048, slots=2):
            block.copy([q.scratch[rank.id] for q in p.ranks], rank.input[0])
            for q in p.ranks:
                block.copy(rank.output[q.id], rank.scratch[q.id])
    findings = verify(p.build()).findings
    places = [(f.code, tuple((w.rank, w.block, w.path) for w in f.where)) for f in findings]
    assert len(set(places)) == len(places)
    assert any(w.piece is not None for f in findings for w in f.where)
