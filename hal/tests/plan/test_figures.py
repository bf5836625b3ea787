"""What a plan costs: steps, messages moved, scratch."""

from fractions import Fraction

import pytest

from hal.interface.errors import PlanError
from hal.plan import Channel, ChannelKind, Move, Plan, PlanBuilder, RankPlan, Span
from hal.plan.figures import figures
from hal.plan.model import BufferKind


def ring(size, loop=False):
    p = PlanBuilder("all_gather", name="ring", ranks=size, scratch_chunk_bytes=4096 if loop else None)
    for rank in p.ranks:
        after, before = rank.others[0], rank.others[-1]
        block = rank.block()
        block.copy([rank.output[rank.id], after.scratch[0]], rank.input[0])
        for step in range(1, size):
            block.signal([after])
            block.wait([before])
            onward = [after.scratch[step]] if step < size - 1 else []
            block.copy([rank.output[(rank.id - step) % size], *onward], rank.scratch[step - 1])
    return p.build()


@pytest.mark.parametrize("size", [2, 3, 7])
def test_a_ring(size):
    found = figures(ring(size))
    assert (found.steps, found.moved, found.scratch) == (size - 1, Fraction(size - 1, size), Fraction(size - 1, size))
    fixed = figures(ring(size, loop=True))
    assert (fixed.scratch, fixed.scratch_bytes) == (0, 4096 * (size - 1))


def test_packets_take_a_step_and_twice_the_scratch():
    p = PlanBuilder("all_reduce", name="packets", ranks=3)
    for rank in p.ranks:
        block = rank.block()
        block.copy([other.scratch[rank.id].packets for other in rank.others], rank.input[0])
        contributions = [rank.input[0] if r is rank else rank.scratch[r.id].packets for r in p.ranks]
        block.reduce(rank.output[0], contributions, final=True)
    found = figures(p.build())
    assert (found.steps, found.moved, found.scratch) == (1, 2, 6)


def test_packets_that_a_port_delivers():
    p = PlanBuilder("send_recv", name="posted", ranks=2, even=True)
    sender, receiver = p.ranks
    block = sender.block()
    block.copy(sender.scratch[0].packets, sender.input[0])
    block.post(receiver.scratch[0].packets, sender.scratch[0].packets)
    receiver.block().copy(receiver.output[0], receiver.scratch[0].packets)
    assert figures(p.build()).steps == 1


def test_the_busiest_rank_counts():
    """All read the root's input: it hands out what each of the others takes in."""
    p = PlanBuilder("broadcast", name="root", ranks=4, root=2)
    root = p.ranks[2]
    for rank in p.ranks:
        block = rank.block()
        if rank is root:
            block.signal(rank.others)
            block.copy(root.output[0], root.input[0])
            block.wait(rank.others)
        else:
            block.wait([root])
            block.copy(rank.output[0], root.input[0])
            block.signal([root])
    found = figures(p.build())
    assert (found.steps, found.moved, found.scratch, found.scratch_bytes) == (2, 3, 0, 0)


def test_posts_parts_and_blocks_that_hand_on():
    p = PlanBuilder("send_recv", name="posts", ranks=2)
    sender, receiver = p.ranks
    here, there = sender.semaphore(), receiver.semaphore(1)
    first, second = sender.block(), sender.block()
    first.wait([receiver], channel=0)
    first.release(here)
    second.acquire(here)
    for part, block in enumerate((first, second)):
        block.post(receiver.output[0], sender.input[0], signal=True, part=(part, 2))
        block.barrier(0, 2)
    first, second = receiver.block(), receiver.block()
    first.signal([sender], channel=0)
    first.acquire(there)
    for block in (first, second):
        block.wait([sender], port=True)
    found = figures(p.build())
    assert (found.steps, found.moved) == (2, 1)


def test_a_switch_hands_out_once_what_it_takes_of_all():
    group = Channel(ChannelKind.SWITCH, (0, 1, 2))
    out = Span(BufferKind.OUTPUT, 0, switch=0)
    moves = (Move((out,), (Span(BufferKind.INPUT, 0, switch=0),)),)
    ranks = (RankPlan(1, 1, 0, (moves,), (group,)), *(RankPlan(1, 1, 0, (), (group,)) for _ in range(2)))
    assert figures(Plan("switch", "all_reduce", ranks)).moved == 1


def test_a_plan_that_moves_nothing():
    p = PlanBuilder("barrier", name="meet", ranks=2)
    for rank in p.ranks:
        block = rank.block()
        block.signal(rank.others)
        block.wait(rank.others)
    assert figures(p.build()).steps == 1
    assert figures(p.build()).moved == 0


def test_deadlock():
    p = PlanBuilder("barrier", name="stuck", ranks=2)
    for rank in p.ranks:
        block = rank.block()
        block.wait(rank.others)
        block.signal(rank.others)
    with pytest.raises(PlanError, match="'stuck' is in deadlock"):
        figures(p.build())
