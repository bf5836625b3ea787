"""Who sends what to whom, by step, in small plans written for it."""

import pytest

from hal.interface.errors import PlanError, UsageError
from hal.plan import Channel, ChannelKind, Layout, Move, PlanBuilder, Post, Signal, Span, Wait
from hal.plan.draw import steps_of
from hal.plan.draw.space_time import space_time
from hal.plan.model import BufferKind, Plan, RankPlan


def moves(diagram):
    return [(a.step, a.src, a.dst, a.chunks) for a in diagram.arrows]


def chain(ranks, *, packets=False):
    """Rank 0's input goes from rank to rank."""
    p = PlanBuilder("broadcast", name="chain", ranks=ranks, root=0)
    for rank in p.ranks:
        block = rank.block()
        here = rank.scratch[0].packets if packets else rank.scratch[0]
        if rank.id == 0:
            block.copy(rank.output[0], rank.input[0])
            source = rank.input[0]
        else:
            if not packets:
                block.wait([p.ranks[rank.id - 1]])
            block.copy(rank.output[0], here)
            source = rank.output[0]
        if rank.id + 1 < ranks:
            after = p.ranks[rank.id + 1]
            block.copy(after.scratch[0].packets if packets else after.scratch[0], source)
            if not packets:
                block.signal([after])
    return p.build()


@pytest.mark.parametrize("packets", [False, True])
def test_a_chain_has_as_many_steps_as_links(packets):
    diagram = steps_of(chain(4, packets=packets))
    assert diagram.steps == 3
    assert [(a.step, a.src, a.dst) for a in diagram.arrows] == [(1, 0, 1), (2, 1, 2), (3, 2, 3)]
    assert [(w.step, w.rank) for w in diagram.work] == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_what_nothing_orders_shares_a_step(all_gather):
    diagram = steps_of(all_gather)
    assert moves(diagram) == [(1, 0, 1, "in 0"), (1, 1, 0, "in 0")]
    assert diagram.arrows[0].rank == 1, "rank 1 reads it"


def test_a_move_that_reads_and_writes_elsewhere_makes_two_steps():
    p = PlanBuilder("custom", name="middle", ranks=3, input_chunks=1, output_chunks=1)
    p.ranks[1].block().copy(p.ranks[2].output[0], p.ranks[0].input[0])
    assert moves(steps_of(p.build())) == [(1, 0, 1, "in 0"), (2, 1, 2, "in 0")]


@pytest.mark.parametrize("order", ["barrier", "semaphore"])
def test_blocks_are_ordered_by_barriers_and_semaphores(order):
    p = PlanBuilder("custom", name=order, ranks=2, input_chunks=2, output_chunks=2)
    rank, other = p.ranks
    first, second = rank.block(), rank.block()
    first.copy(rank.output[0], other.input[0])
    if order == "barrier":
        first.barrier(0, 2)
        second.barrier(0, 2)
    else:
        free = rank.semaphore(0)
        first.release(free)
        second.acquire(free)
    second.copy(other.output[1], rank.input[1])
    assert [(a.step, a.src, a.dst) for a in steps_of(p.build()).arrows] == [(1, 1, 0), (2, 0, 1)]


def test_data_orders_moves_of_one_block():
    p = PlanBuilder("custom", name="pass", ranks=3, input_chunks=1, output_chunks=1)
    block = p.ranks[1].block()
    block.copy(p.ranks[1].output[0], p.ranks[0].input[0])
    block.sync()
    block.copy(p.ranks[2].output[0], p.ranks[1].output[0])
    block.copy(p.ranks[0].output[0], p.ranks[1].input[0])
    assert moves(steps_of(p.build())) == [(1, 0, 1, "in 0"), (1, 1, 0, "in 0"), (2, 1, 2, "out 0")]


def test_posts_carry_their_signal():
    ports = tuple(Channel(ChannelKind.PORT, (peer,)) for peer in (1,))
    put = Post(0, Span(BufferKind.OUTPUT, 0), Span(BufferKind.INPUT, 0), signal=True)
    first = RankPlan(1, 1, 0, ((put, Wait((0,))),), ports)
    second = RankPlan(1, 1, 0, ((Wait((0,)), put),), (Channel(ChannelKind.PORT, (0,)),))
    diagram = steps_of(Plan("there and back", "custom", (first, second)))
    assert [(a.step, a.src, a.dst) for a in diagram.arrows] == [(1, 0, 1), (2, 1, 0)]


def test_a_switch_reaches_all_its_members():
    group = (Channel(ChannelKind.SWITCH, (0, 1, 2)),)
    store = Move((Span(BufferKind.OUTPUT, 0, switch=0),), (Span(BufferKind.INPUT, 0),))
    ranks = [RankPlan(1, 1, 0, ((store,),) if rank == 1 else ((),), group) for rank in range(3)]
    diagram = steps_of(Plan("multicast", "custom", tuple(ranks)))
    assert moves(diagram) == [(1, 1, 0, "in 0"), (1, 1, 2, "in 0")]


def test_a_plan_that_moves_nothing_shows_its_signals():
    p = PlanBuilder("barrier", name="meet", ranks=3)
    for rank in p.ranks:
        block = rank.block()
        block.signal(rank.others)
        block.wait(rank.others)
    diagram = steps_of(p.build())
    assert diagram.signals
    assert diagram.steps == 1
    assert len(diagram.arrows) == 6
    assert "signals" in space_time(diagram).title


def test_one_piece_of_a_loop_is_shown():
    p = PlanBuilder("send_recv", name="pieces", ranks=2, scratch_chunk_bytes=1024)
    sender, receiver = p.ranks
    put, take = sender.block(), receiver.block()
    with put.loop(1024):
        put.copy(receiver.scratch[0], sender.input[0])
        put.signal([receiver])
        put.wait([receiver])
    with take.loop(1024):
        take.wait([sender])
        take.copy(receiver.output[0], receiver.scratch[0])
        take.signal([sender])
    plan = p.build()
    diagram = steps_of(plan)
    assert moves(diagram) == [(1, 0, 1, "in 0")]
    assert diagram.arrows[0].path == (0, 0)
    assert diagram.pieces == {1024: None}
    assert "one of pieces of 1 KiB" in space_time(diagram).notes
    sized = steps_of(plan, Layout.uniform(plan, 10_000, 1))
    assert sized.pieces == {1024: 10}
    assert sized.arrows[0].nbytes == 10_000
    assert "9.766 KiB" in space_time(sized).lines[0].texts[0]


def test_parts_of_a_move_do_not_wait_for_each_other():
    """Two blocks pass halves of one chunk on to rank 2, and only one of the halves came from rank 0."""
    p = PlanBuilder("custom", name="halves", ranks=3, input_chunks=1, output_chunks=1)
    rank = p.ranks[1]
    for part in (0, 1):
        block = rank.block()
        block.copy(rank.output[0], p.ranks[0].input[0] if part == 0 else rank.input[0], part=(part, 2))
        block.sync()
        block.copy(p.ranks[2].output[0], rank.output[0], part=(part, 2))
    assert [(a.step, a.block, a.src, a.dst) for a in steps_of(p.build()).arrows] == [
        (1, 0, 0, 1),
        (1, 1, 1, 2),
        (2, 0, 1, 2),
    ]


def test_a_deadlock_has_no_picture():
    channels = [(Channel(ChannelKind.MEMORY, (peer,)),) for peer in (1, 0)]
    ranks = [RankPlan(0, 0, 0, ((Wait((0,)), Signal((0,))),), channels[rank]) for rank in range(2)]
    with pytest.raises(PlanError, match=r"'stuck' does not come to its end.*hal plan verify"):
        steps_of(Plan("stuck", "custom", tuple(ranks)))


def test_arrows_between_the_same_ranks_are_one_line_with_all_their_chunks():
    p = PlanBuilder("custom", name="many", ranks=2, input_chunks=5, output_chunks=5)
    for chunk in range(5):
        p.ranks[0].block().copy(p.ranks[1].output[chunk], p.ranks[0].input[chunk])
    diagram = steps_of(p.build())
    (line,) = space_time(diagram).lines
    assert len(diagram.arrows) == 5
    assert line.label == "in 0, in 1, in 2 +2"
    assert len(line.texts) == 5


def test_only_the_ranks_asked_for(all_gather):
    p = chain(4)
    picture = space_time(steps_of(p), {0})
    assert [(line.src, line.dst) for line in picture.lines] == [(0, 1)]
    assert {dot.rank for dot in picture.dots} == {0}
    with pytest.raises(UsageError, match="no rank 4: allowed are 0 to 3"):
        space_time(steps_of(p), {4})
