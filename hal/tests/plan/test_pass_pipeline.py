"""`pipeline`: pieces through bounded scratch, with no slot written to before it is free."""

import dataclasses

import numpy as np
import pytest

from hal.interface.errors import PlanError
from hal.plan import Flush, Loop, Move, PlanBuilder, Signal, Wait
from hal.plan.passes import pipeline
from hal.plan.verify import verify
from hal.reference import run

COUNT = 160  # of 4 bytes: ten pieces of 64


def assert_broadcast(plan, seeds=8):
    chance = np.random.default_rng(1)
    inputs = [chance.integers(0, 99, COUNT * rank.input_chunks // plan.split).astype(np.int32) for rank in plan.ranks]
    for seed in range(seeds):
        for outputs in run(plan, inputs, count=COUNT, schedule=seed, max_pieces=2, launches=3).launches:
            for got in outputs:
                np.testing.assert_array_equal(got, inputs[plan.root])


def publish(size=3):
    """The root puts the message in its scratch and goes on; nothing tells it when that has been read."""
    p = PlanBuilder("broadcast", name="publish", ranks=size, root=0)
    root, *others = p.ranks
    block = root.block()
    block.copy([root.scratch[0], root.output[0]], root.input[0])
    block.signal(others)
    for rank in others:
        block = rank.block()
        block.wait([root])
        block.copy(rank.output[0], root.scratch[0])
    return p.build()


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_a_stream_gets_credits(slots):
    made = pipeline(publish(), 64, slots)
    assert made.scratch_chunk_bytes == 64 * slots
    (*before, loop) = made.ranks[1].blocks[0]
    assert [type(i) for i in before] == [Signal] * slots
    assert [type(i) for i in loop.body] == [Wait, Move, Signal]
    (loop, *after) = made.ranks[0].blocks[0]
    assert [type(i) for i in loop.body] == [Wait, Move, Signal]
    assert [type(i) for i in after] == [Wait] * slots
    assert (loop.unit, loop.slots, len(loop.body[0].channels)) == (64, slots, 2)
    assert verify(made).ok
    assert_broadcast(made)


def without_credits(plan):
    """The loops alone, without the waits for credits and what gives them."""

    def stripped(body):
        return tuple(
            i for i in body if not (isinstance(i, Signal | Wait) and any(c >= len(i_own) // 2 for c in i.channels))
        )

    ranks = []
    for rank in plan.ranks:
        i_own = rank.channels
        loops = [i for i in rank.blocks[0] if isinstance(i, Loop)]
        ranks.append(
            dataclasses.replace(
                rank,
                blocks=(tuple(dataclasses.replace(loop, body=stripped(loop.body)) for loop in loops),),
                channels=i_own[: len(i_own) // 2],
            )
        )
    return dataclasses.replace(plan, ranks=tuple(ranks))


def test_without_its_credits_it_is_a_race():
    bare = without_credits(pipeline(publish(), 64, 2))
    assert "data-race" in {finding.code.value for finding in verify(bare).findings}
    with pytest.raises(AssertionError, match="not equal"):
        assert_broadcast(bare, seeds=30)


def all_meet(size=3):
    p = PlanBuilder("all_reduce", name="all_meet", ranks=size)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
        block.reduce(rank.output[0], [r.scratch[0] for r in p.ranks], final=True)
    return p.build()


def test_where_all_meet_two_slots_need_no_credits():
    plan = all_meet()
    assert [rank.channels for rank in pipeline(plan, 64, 2).ranks] == [rank.channels for rank in plan.ranks]
    one = pipeline(plan, 64, 1)
    assert [len(rank.channels) for rank in one.ranks] == [4, 4, 4]
    for made in (pipeline(plan, 64, 2), one):
        assert verify(made).ok


def hand_over():
    """A block that fills scratch, and another of the same rank that empties it, with a semaphore between them."""
    p = PlanBuilder("broadcast", name="hand_over", ranks=1, root=0)
    (rank,) = p.ranks
    full = rank.semaphore()
    first, second = rank.block(), rank.block()
    first.copy(rank.scratch[0], rank.input[0])
    first.release(full)
    second.acquire(full)
    second.copy(rank.output[0], rank.scratch[0])
    return p.build()


def test_blocks_of_one_rank_use_a_semaphore():
    made = pipeline(hand_over(), 64, 3)
    assert made.ranks[0].semaphores == (0, 3)
    assert verify(made).ok
    assert_broadcast(made)


def meet_at_barriers():
    p = PlanBuilder("broadcast", name="meet_at_barriers", ranks=1, root=0, split=2)
    (rank,) = p.ranks
    for number in range(2):
        block = rank.block()
        block.copy(rank.scratch[number], rank.input[number])
        block.barrier(0, 2)
        block.copy(rank.output[1 - number], rank.scratch[1 - number])
    return p.build()


@pytest.mark.parametrize("slots", [1, 2])
def test_barriers_order_too(slots):
    made = pipeline(meet_at_barriers(), 64, slots)
    assert len(made.ranks[0].semaphores) == (2 if slots == 1 else 0)
    assert verify(made).ok
    assert_broadcast(made)


def posted(flush):
    p = PlanBuilder("broadcast", name="posted", ranks=2, root=0, even=True)
    root, leaf = p.ranks
    block = root.block()
    block.copy([root.output[0], root.scratch[1]], root.input[0])
    block.post(leaf.scratch[0], root.scratch[1], signal=True, flush=flush)
    block = leaf.block()
    block.wait([root], port=True)
    block.copy(leaf.output[0], leaf.scratch[0])
    return p.build()


@pytest.mark.parametrize("flush", [False, True])
def test_posts_are_over_before_their_source_is_written_again(flush):
    made = pipeline(posted(flush), 64, 2)
    (loop, *_) = made.ranks[0].blocks[0]
    assert any(isinstance(i, Flush) for i in loop.body) is not flush
    # between these two there are ports alone
    assert {channel.kind.value for rank in made.ranks for channel in rank.channels} == {"port"}
    assert verify(made).ok
    assert_broadcast(made)


def packets():
    p = PlanBuilder("broadcast", name="packets", ranks=1, root=0)
    (rank,) = p.ranks
    block = rank.block()
    block.copy(rank.scratch[0].packets, rank.input[0])
    block.copy(rank.output[0], rank.scratch[0].packets)
    return p.build()


def skewed():
    p = PlanBuilder("broadcast", name="skewed", ranks=1, root=0, split=2)
    (rank,) = p.ranks
    block = rank.block()
    block.copy(rank.scratch[0:2], rank.input[0:2])
    block.sync()
    block.copy(rank.output[0], rank.input[0])
    block.sync()
    block.copy(rank.output[0:2], rank.scratch[0:2])
    block.sync()
    block.copy(rank.scratch[1], rank.input[1])
    return p.build()


def looped():
    p = PlanBuilder("broadcast", name="looped", ranks=1, root=0)
    with p.ranks[0].block().loop(64) as _:
        p.ranks[0].blocks[0].copy(p.ranks[0].output[0], p.ranks[0].input[0])
    return p.build()


def in_parts():
    p = PlanBuilder("broadcast", name="in_parts", ranks=1, root=0)
    for part in range(2):
        p.ranks[0].block().copy(p.ranks[0].output[0], p.ranks[0].input[0], part=(part, 2))
    return p.build()


def two_signallers():
    p = PlanBuilder("broadcast", name="two_signallers", ranks=2, root=0, split=2)
    root, leaf = p.ranks
    for number in range(2):
        block = root.block()
        block.copy([root.output[number], root.scratch[number]], root.input[number])
        block.signal([leaf], channel=0)
    block = leaf.block()
    for _ in range(2):
        block.wait([root], channel=0)
    block.copy(leaf.output[0:2], root.scratch[0:2])
    return p.build()


def credit():
    p = PlanBuilder("broadcast", name="credit", ranks=1, root=0)
    (rank,) = p.ranks
    free = rank.semaphore(1)
    block = rank.block()
    block.acquire(free)
    block.copy(rank.output[0], rank.input[0])
    return p.build()


def stuck():
    p = PlanBuilder("broadcast", name="stuck", ranks=2, root=0)
    for rank in p.ranks:
        block = rank.block()
        block.wait(rank.others)
        block.copy(rank.output[0], p.ranks[0].input[0])
        block.signal(rank.others)
    return p.build()


def idle():
    p = PlanBuilder("barrier", name="idle", ranks=2)
    for rank in p.ranks:
        block = rank.block()
        block.signal(rank.others)
        block.wait(rank.others)
    return p.build()


@pytest.mark.parametrize(
    ("plan", "unit", "slots", "message"),
    [
        (publish, 64, 0, "slots is 1 or more, not 0"),
        (publish, 100, 2, "unit is 100, allowed are multiples of 64"),
        (packets, 64, 2, "it has packets"),
        (skewed, 64, 2, "ranges of rank 0's output overlap at chunk 1|ranges of rank 0's scratch overlap at chunk 1"),
        (looped, 64, 2, "rank 0, block 0, instruction 0 is a loop already"),
        (in_parts, 64, 2, "rank 0, block 0, instruction 0 is about a part of its operands"),
        (two_signallers, 64, 2, r"channel 0 of rank 0 is signalled by several blocks: \[0, 1\]"),
        (credit, 64, 2, "semaphore 0 of rank 0 is not released as often as it is acquired"),
        (stuck, 64, 2, "plan 'stuck' is in deadlock: rank ., block 0 waits in vain at instruction 0"),
        (idle, 64, 2, "it moves no data"),
    ],
)
def test_what_it_refuses(plan, unit, slots, message):
    with pytest.raises(PlanError, match=message):
        pipeline(plan(), unit, slots)
