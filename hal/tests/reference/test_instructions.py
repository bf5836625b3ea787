"""Every instruction at work, in small plans written by hand."""

import numpy as np
import pytest

from hal.interface.dtypes import ReduceOp
from hal.interface.errors import PlanError
from hal.plan import (
    BufferKind,
    Channel,
    ChannelKind,
    Layout,
    Move,
    Plan,
    PlanBuilder,
    RankPlan,
    Signal,
    Span,
    Wait,
)
from hal.reference import run

SCHEDULES = [None, *range(6)]


def run_all_ways(plan, inputs, **options):
    """The outputs, which are the same under several schedules, in small pieces, and launch after launch."""
    first = run(plan, inputs, **options)
    for schedule in SCHEDULES:
        result = run(plan, inputs, schedule=schedule, max_pieces=4, launches=3, **options)
        for outputs in result.launches:
            for got, expected in zip(outputs, first.outputs, strict=True):
                assert got.tobytes() == expected.tobytes()
    return first.outputs


def meet(block, peers):
    block.signal(peers)
    block.wait(peers)


def test_packets_need_no_signal(numbers):
    p = PlanBuilder("all_reduce", name="packets", ranks=3)
    for rank in p.ranks:
        block = rank.block()
        block.copy([other.scratch[rank.id].packets for other in rank.others], rank.input[0])
        block.reduce(rank.output[0], [rank.input[0], *(rank.scratch[o.id].packets for o in rank.others)], final=True)
    inputs = numbers(3, 37)
    for output in run_all_ways(p.build(), inputs):
        np.testing.assert_array_equal(output, sum(inputs))


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_packets_of_a_length_that_is_no_multiple_of_four(count, numbers):
    p = PlanBuilder("send_recv", name="packets", ranks=2)
    sender, receiver = p.ranks
    sender.block().copy(receiver.scratch[0].packets, sender.input[0])
    receiver.block().copy(receiver.output[0], receiver.scratch[0].packets)
    (data, _) = numbers(2, count, np.uint8)
    outputs = run_all_ways(p.build(), [data, data[:0]])
    np.testing.assert_array_equal(outputs[1], data)


def test_posts_are_delivered_before_their_signal(numbers):
    p = PlanBuilder("send_recv", name="post", ranks=2)
    sender, receiver = p.ranks
    block = sender.block()
    block.wait([receiver], port=True)
    block.post(receiver.output[0], sender.input[0], signal=True)
    block = receiver.block()
    block.signal([sender], port=True)
    block.wait([sender], port=True)
    (data, _) = numbers(2, 20)
    np.testing.assert_array_equal(run_all_ways(p.build(), [data, data[:0]])[1], data)


@pytest.mark.parametrize("flush", ["in the post", "apart", "none"])
def test_a_source_may_be_reused_after_a_flush_and_not_before(flush, numbers):
    p = PlanBuilder("custom", name="reuse", ranks=2, input_chunks=2, output_chunks=1)
    sender, receiver = p.ranks
    block = sender.block()
    block.wait([receiver])
    block.copy(sender.output[0], sender.input[0])
    block.post(receiver.output[0], sender.output[0], signal=True, flush=flush == "in the post")
    if flush == "apart":
        block.flush(receiver)
    block.copy(sender.output[0], sender.input[1])
    block = receiver.block()
    block.signal([sender])
    block.wait([sender], port=True)
    plan = p.build()
    inputs = numbers(2, 64)
    received = {run(plan, inputs, schedule=s).outputs[1].tobytes() for s in range(20)}
    correct = inputs[0][:32].tobytes()
    assert received == {correct} if flush != "none" else received > {correct}


def test_a_signal_on_a_port_channel_follows_the_posts(numbers):
    p = PlanBuilder("send_recv", name="order", ranks=2)
    sender, receiver = p.ranks
    block = sender.block()
    block.wait([receiver])
    block.post(receiver.output[0], sender.input[0])
    block.signal([receiver], port=True)
    block = receiver.block()
    block.signal([sender])
    block.wait([sender], port=True)
    (data, _) = numbers(2, 20)
    np.testing.assert_array_equal(run_all_ways(p.build(), [data, data[:0]])[1], data)


def test_semaphores_pass_slots_between_blocks(numbers):
    """One block fills, another empties, with one slot of scratch between them."""
    p = PlanBuilder("all_reduce", name="slots", ranks=1, split=5)
    (rank,) = p.ranks
    free, full = rank.semaphore(1), rank.semaphore(0)
    fill, empty = rank.block(), rank.block()
    for i in range(5):
        fill.acquire(free)
        fill.copy(rank.scratch[0], rank.input[i])
        fill.release(full)
        empty.acquire(full)
        empty.copy(rank.output[i], rank.scratch[0])
        empty.release(free)
    (data,) = numbers(1, 100)
    np.testing.assert_array_equal(run_all_ways(p.build(), [data])[0], data)


def test_barriers_order_blocks_as_often_as_they_meet(numbers):
    p = PlanBuilder("all_reduce", name="barrier", ranks=1, split=3)
    (rank,) = p.ranks
    blocks = [rank.block() for _ in range(3)]
    for i, block in enumerate(blocks):
        block.copy(rank.scratch[i], rank.input[i])
        block.barrier(0, 3)
        # what another block wrote
        block.move(rank.output[(i + 1) % 3], [rank.scratch[(i + 1) % 3], rank.input[(i + 1) % 3]], ReduceOp.SUM)
        block.barrier(0, 3)
        block.sync()
        block.move(rank.output[i], [rank.output[i], rank.input[i]], ReduceOp.SUM)
    (data,) = numbers(1, 60)
    np.testing.assert_array_equal(run_all_ways(p.build(), [data])[0], 3 * data)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 64, 100])
def test_a_loop_streams_any_length_through_a_ring_of_slots(count, numbers):
    p = PlanBuilder("send_recv", name="stream", ranks=2, scratch_chunk_bytes=192)
    sender, receiver = p.ranks
    block = sender.block()
    with block.loop(64, slots=3):
        block.wait([receiver])
        block.copy(receiver.scratch[0], sender.input[0])
        block.signal([receiver])
    for _ in range(3):
        block.wait([receiver])
    block = receiver.block()
    for _ in range(3):
        block.signal([sender])
    with block.loop(64, slots=3):
        block.wait([sender])
        block.copy(receiver.output[0], receiver.scratch[0])
        block.signal([sender])
    (data, _) = numbers(2, count)
    np.testing.assert_array_equal(run_all_ways(p.build(), [data, data[:0]])[1], data)


def test_posts_in_loops_signal_also_when_they_have_ended(numbers):
    """Chunks of 65 and 64 elements of a byte: the shorter has one piece less."""
    p = PlanBuilder("custom", name="uneven", ranks=2, split=2, align=1, input_chunks=2, output_chunks=2)
    sender, receiver = p.ranks
    block = sender.block()
    with block.loop(64):
        block.wait([receiver])
        block.post(receiver.output[0], sender.input[0], signal=True)
        block.post(receiver.output[1], sender.input[1], signal=True)
    block = receiver.block()
    with block.loop(64):
        block.signal([sender])
        block.wait([sender], port=True)
        block.wait([sender], port=True)
    inputs = numbers(2, 129, np.uint8)
    result = run(p.build(), inputs, schedule=3, launches=2)
    np.testing.assert_array_equal(result.outputs[1], inputs[0])


def switch_plan(collective, **options):
    """Three ranks, of which each reduces one chunk over the switch and stores it to all."""
    group = Channel(ChannelKind.SWITCH, (0, 1, 2))
    ranks = []
    for rank in range(3):
        others = [r for r in range(3) if r != rank]
        memory = tuple(Channel(ChannelKind.MEMORY, (r,)) for r in others)
        meeting = (Signal((1, 2)), Wait((1, 2)))
        move = Move((Span(BufferKind.OUTPUT, rank, switch=0),), (Span(BufferKind.INPUT, rank, switch=0),), final=True)
        ranks.append(RankPlan(3, 3, 0, ((*meeting, move, *meeting),), (group, *memory)))
    return Plan("switch", collective, tuple(ranks), split=3, **options)


def test_a_switch_reduces_over_all_members_and_stores_to_all(numbers):
    inputs = numbers(3, 50)
    for output in run_all_ways(switch_plan("all_reduce"), inputs, op="max"):
        np.testing.assert_array_equal(output, np.maximum.reduce(inputs))


def test_an_average_is_divided_once(numbers):
    p = PlanBuilder("all_reduce", name="chain", ranks=3)
    for rank in p.ranks:
        block = rank.block()
        meet(block, rank.others)
        a, b, c = (each.input[0] for each in p.ranks)
        block.reduce(rank.output[0], [a, b])
        block.reduce(rank.output[0], [rank.output[0], c], final=True)
        meet(block, rank.others)
    inputs = numbers(3, 10, np.float32)
    for output in run_all_ways(p.build(), inputs, op="avg"):
        np.testing.assert_array_equal(output, (inputs[0] + inputs[1] + inputs[2]) / np.float32(3))


def test_an_explicit_layout_gives_every_chunk_its_extent(numbers):
    p = PlanBuilder("all_gather", name="direct", ranks=2)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.output[rank.id], rank.input[0])
        meet(block, rank.others)
        block.copy(rank.output[rank.others[0].id], rank.others[0].input[0])
        meet(block, rank.others)
    plan = p.build()
    place = ((0, 3), (5, 2))
    layout = Layout.explicit(plan, (((0, 3),), ((1, 2),)), (place, place), 4)
    first, second = numbers(2, 3)
    result = run(plan, [first, second], layout=layout)
    for output in result.outputs:
        np.testing.assert_array_equal(output[:3], first)
        np.testing.assert_array_equal(output[5:], second[1:])


def test_operands_that_do_not_fit_are_refused(numbers):
    p = PlanBuilder("all_gather", name="odd", ranks=1, split=2)
    (rank,) = p.ranks
    rank.block().copy(rank.output[1], rank.input[0])
    with pytest.raises(PlanError, match="rank 0, block 0, instruction 0: operands differ in length"):
        run(p.build(), numbers(1, 33))
    p = PlanBuilder("all_reduce", name="small", ranks=1, scratch_chunk_bytes=128)
    (rank,) = p.ranks
    rank.block().copy(rank.scratch[0], rank.input[0])
    with pytest.raises(PlanError, match="132 bytes do not fit into 1 scratch chunks of 128 bytes"):
        run(p.build(), numbers(1, 33))
