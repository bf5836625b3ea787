"""Findings of the verifier on launches, packets, ports and switches, and its limits and reports."""

import dataclasses
import json

from hal.interface.dtypes import ReduceOp
from hal.plan import Channel, ChannelKind, Move, Plan, Post, RankPlan, Signal, Span, Wait
from hal.plan.verify import Code, Limits, verify

from .verifying import INPUT, OUTPUT, builder, codes, exchange, only


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
    assert codes(p.build()) == []


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
