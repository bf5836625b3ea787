import pytest

from hal.interface.errors import PlanError, UsageError
from hal.plan import BufferKind, Channel, ChannelKind, Loop, Move, PlanBuilder, Post, Signal, Span, Wait, validate


def test_buffers_are_as_large_as_the_collective_says():
    p = PlanBuilder("reduce_scatter", name="p", ranks=3, split=2)
    rank = p.ranks[0]
    rank.block().copy(rank.scratch[4:6], rank.input[0:2])
    plan = p.build()
    assert [(r.input_chunks, r.output_chunks) for r in plan.ranks] == [(6, 2)] * 3
    assert [r.scratch_chunks for r in plan.ranks] == [6, 0, 0]


def test_a_chunk_of_another_rank_is_a_remote_operand():
    p = PlanBuilder("all_reduce", name="p", ranks=2)
    rank, other = p.ranks
    block = rank.block()
    block.reduce([rank.output[0], other.scratch[1].packets], [rank.input[0], other.input[0]], final=True)
    (move,) = p.build().ranks[0].blocks[0]
    assert move == Move(
        (Span(BufferKind.OUTPUT, 0), Span(BufferKind.SCRATCH, 1, peer=1, packet=True)),
        (Span(BufferKind.INPUT, 0), Span(BufferKind.INPUT, 0, peer=1)),
        final=True,
    )


def test_both_ends_of_a_channel_exist_and_pair_by_tag():
    p = PlanBuilder("custom", name="p", ranks=2, input_chunks=1, output_chunks=1)
    one, two = p.ranks
    # used in opposite orders: numbers follow the tags all the same
    for rank, other, tags in ((one, two, (5, 3)), (two, one, (3, 5))):
        block = rank.block()
        for tag in tags:
            block.signal([other], channel=tag)
        for tag in tags:
            block.wait([other], channel=tag)
    plan = p.build()
    validate(plan)
    assert plan.ranks[0].channels == (Channel(ChannelKind.MEMORY, (1,)),) * 2
    assert plan.ranks[0].blocks[0][0] == Signal((1,))
    assert plan.ranks[1].blocks[0][0] == Signal((0,))


def test_an_end_that_only_the_peer_uses_is_made():
    p = PlanBuilder("custom", name="p", ranks=2, input_chunks=1, output_chunks=1)
    one, two = p.ranks
    one.block().signal([two])
    assert p.build().ranks[1].channels == (Channel(ChannelKind.MEMORY, (0,)),)


def test_posts_use_port_channels():
    p = PlanBuilder("send_recv", name="p", ranks=2)
    one, two = p.ranks
    one.block().post(two.output[0], one.input[0], signal=True)
    two.block().wait([one], port=True)
    plan = p.build()
    validate(plan)
    assert plan.ranks[0].blocks[0] == (Post(0, Span(BufferKind.OUTPUT, 0), Span(BufferKind.INPUT, 0), signal=True),)
    assert plan.ranks[1].channels == (Channel(ChannelKind.PORT, (0,)),)


def test_loops_hold_what_was_written_inside():
    p = PlanBuilder("custom", name="p", ranks=2, input_chunks=1, output_chunks=1)
    for rank in p.ranks:
        block = rank.block()
        with block.loop(256, slots=2):
            block.signal(rank.others)
            block.wait(rank.others)
        block.sync()
    body = p.build().ranks[0].blocks[0]
    assert body[0] == Loop(256, (Signal((0,)), Wait((0,))), 2)
    assert len(body) == 2


@pytest.mark.parametrize("key", [2, -1, slice(1, 3), slice(1, 1), slice(0, 2, 2), slice(None, 1)])
def test_chunks_that_do_not_exist_are_refused(key):
    rank = PlanBuilder("all_gather", name="p", ranks=2).ranks[0]
    with pytest.raises(PlanError):
        rank.output[key]


def test_impossible_instructions_are_refused():
    p = PlanBuilder("all_reduce", name="p", ranks=2)
    rank, other = p.ranks
    block = rank.block()
    with pytest.raises(PlanError, match="no channel to itself"):
        block.signal([rank])
    with pytest.raises(PlanError, match="another rank"):
        block.post(rank.output[0], rank.input[0])
    with pytest.raises(PlanError, match="this rank's memory"):
        block.post(other.output[0], other.input[0])


def test_an_unknown_collective_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'all_reduce'"):
        PlanBuilder("allreduce", name="p", ranks=2)
