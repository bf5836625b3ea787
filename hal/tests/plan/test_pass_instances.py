"""`instances`: copies side by side, each with a slice of the data and all else of its own."""

import numpy as np
import pytest

from hal.interface.errors import PlanError
from hal.plan import Barrier, Channel, ChannelKind, Move, Plan, PlanBuilder, Post, RankPlan, Span
from hal.plan.lower import spans, walk
from hal.plan.model import BufferKind
from hal.plan.passes import instances
from hal.plan.verify import verify
from hal.reference import run


def outputs(plan, count, **how):
    chance = np.random.default_rng(3)
    inputs = [chance.integers(0, 99, count * r.input_chunks // plan.split).astype(np.int32) for r in plan.ranks]
    return inputs, run(plan, inputs, schedule=5, max_pieces=3, launches=3, **how).launches


def assert_same(plan, made, count, **how):
    _, before = outputs(plan, count, **how)
    _, after = outputs(made, count, **how)
    for one, other in zip(before, after, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def blocks(size):
    """Blocks that meet at barriers, and hand on to one another by semaphores; ranges of chunks."""
    p = PlanBuilder("all_reduce", name="blocks", ranks=size, split=4)
    for rank in p.ranks:
        ready, turn = rank.semaphore(), rank.semaphore(1)
        first, second = rank.block(), rank.block()
        for half, block in enumerate((first, second)):
            block.copy(rank.scratch[2 * half : 2 * half + 2], rank.input[2 * half : 2 * half + 2])
            block.barrier(9, 2)
        first.signal(rank.others)
        first.wait(rank.others)
        first.release(ready)
        first.acquire(turn)
        second.acquire(ready)
        for half, block in enumerate((first, second)):
            both = slice(2 * half, 2 * half + 2)
            block.reduce(rank.output[both], [r.scratch[both] for r in p.ranks], final=True)
    return p.build()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_blocks_semaphores_and_barriers(n):
    plan = blocks(3)
    made = instances(plan, n)
    assert verify(made).ok
    assert (made.split, len(made.ranks[0].blocks), made.ranks[0].semaphores) == (4 * n, 2 * n, (0, 1) * n)
    numbers = {i.id for block in made.ranks[0].blocks for i in walk(block) if isinstance(i, Barrier)}
    assert numbers == (set(range(n)) if n > 1 else {9})
    assert_same(plan, made, 70)
    assert_same(plan, made, 70, in_place=True)


def test_a_span_within_a_block_of_data_stays_one():
    made = instances(blocks(2), 2)
    assert {(s.index, s.size) for s in spans(made) if s.buffer.value == "input"} == {(0, 2), (2, 2), (4, 2), (6, 2)}


def gathered(*, even=False, parts=1, loop=False):
    """Ranges over the blocks of two ranks, there and back through scratch."""
    p = PlanBuilder("all_gather", name="pairs", ranks=4, even=even, in_place=False)
    for rank in p.ranks:
        block = rank.block()
        pair = rank.id // 2 * 2
        block.copy(rank.scratch[8], rank.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
        for other in (pair, pair + 1):
            block.copy(rank.output[other], p.ranks[other].scratch[8])
        block.sync()
        across = p.ranks[(rank.id + 2) % 4]
        for part in range(parts):
            block.copy(across.scratch[0:2], rank.output[pair : pair + 2], part=(part, parts))
        block.signal([across])
        block.wait([across])
        there = 2 - pair
        if loop:
            with block.loop(64, 0):
                block.copy(rank.output[there : there + 2], rank.scratch[0:2])
        else:
            block.copy(rank.output[there : there + 2], rank.scratch[0:2])
    return p.build()


@pytest.mark.parametrize("even", [False, True])
def test_a_span_over_several_blocks_of_data_is_cut(even):
    plan = gathered(even=even)
    made = instances(plan, 3)
    assert verify(made).ok
    assert max(s.size for s in spans(made) if s.buffer.value == "output") == 1
    assert_same(plan, made, 4 * 48)


def test_packets_and_plain_scratch_stay_apart():
    p = PlanBuilder("all_reduce", name="both", ranks=2, in_place=False)
    for rank in p.ranks:
        (other,) = rank.others
        block = rank.block()
        block.copy([other.scratch[0].packets, other.scratch[2]], rank.input[0])
        block.signal([other])
        block.wait([other])
        block.sync()
        block.reduce(rank.output[0], [rank.input[0], rank.scratch[2]])
        block.sync()
        block.reduce(rank.output[0], [rank.input[0], rank.scratch[0].packets], final=True)
    plan = p.build()
    made = instances(plan, 4)
    ranges = [
        set(range(2 * s.index, 2 * s.index + 2) if s.packet else [s.index])
        for s in set(spans(made))
        if s.buffer.value == "scratch" and s.peer is None
    ]
    assert len(set.union(*ranges)) == sum(map(len, ranges)) == 4 * 3
    assert verify(plan).ok
    assert verify(made).ok
    assert_same(plan, made, 70)


def test_ports_switches_and_loops():
    p = PlanBuilder("all_gather", name="ports", ranks=2, in_place=False)
    for rank in p.ranks:
        (other,) = rank.others
        block = rank.block()
        with block.loop(64, 0):
            block.copy(rank.output[rank.id], rank.input[0])
            block.signal([other], port=True)
            block.wait([other], port=True)
            block.post(other.output[rank.id], rank.input[0], signal=True)
            block.wait([other], port=True)
            block.flush(other)
    plan = p.build()
    made = instances(plan, 3)
    assert [len(rank.channels) for rank in made.ranks] == [3, 3]
    assert verify(plan).ok
    assert verify(made).ok
    assert_same(plan, made, 70)


def test_posts_of_several_blocks_of_data_signal_once():
    p = PlanBuilder("scatter", name="posts", ranks=2, root=0)
    root, leaf = p.ranks
    block = root.block()
    block.post(leaf.scratch[0:2], root.input[0:2], signal=True, flush=True)
    block.copy(root.output[0], root.input[0])
    block = leaf.block()
    block.wait([root], port=True)
    made = instances(p.build(), 2)
    assert [(i.signal, i.flush) for i in made.ranks[0].blocks[1] if isinstance(i, Post)] == [
        (False, False),
        (True, True),
    ]


def test_switch_channels():
    group = Channel(ChannelKind.SWITCH, (0, 1))
    ranks = []
    for number in range(2):
        ends = Span(BufferKind.OUTPUT, 0, switch=0), Span(BufferKind.INPUT, 0, switch=0)
        move = Move((ends[0],), (ends[1],), final=True)
        ranks.append(RankPlan(1, 1, 0, ((move,),) if number == 0 else (), (group,)))
    made = instances(Plan("switch", "all_reduce", tuple(ranks)), 2)
    moves = [block[0] for block in made.ranks[0].blocks]
    assert [(m.dst[0].switch, m.src[0].switch, m.dst[0].index) for m in moves] == [(0, 0, 0), (1, 1, 1)]


def skewed():
    """What is stored as a range over two blocks is read as one that goes from block to block elsewhere."""
    p = PlanBuilder("all_to_all", name="skewed", ranks=2, split=2)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0:3], rank.input[0:3])
        block.sync()
        block.copy(rank.output[1:4], rank.scratch[0:3])
    return p.build()


def odd():
    """Chunks that are no whole blocks, and trade places."""
    p = PlanBuilder("custom", name="odd", ranks=1, split=2, in_place=False, input_chunks=3, output_chunks=3)
    (rank,) = p.ranks
    block = rank.block()
    for chunk, source in enumerate((1, 2, 0)):
        block.copy(rank.output[chunk], rank.input[source])
    return p.build()


def test_in_a_custom_plan_every_chunk_is_cut():
    plan = odd()
    made = instances(plan, 4)
    data = [np.arange(3 * 256, dtype=np.int32)]
    before, after = (run(one, data, count=512).outputs[0] for one in (plan, made))
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(after[:256], data[0][256:512])


@pytest.mark.parametrize(
    ("plan", "n", "message"),
    [
        (gathered, 0, "instances is 1 or more, not 0"),
        (gathered, 1 << 20, "room for 65536 instances"),
        (lambda: gathered(parts=2), 2, "block 0, instruction 6 moves a span over several blocks of data in parts"),
        (lambda: gathered(loop=True), 2, "block 0, instruction 9.0 moves a span over several blocks of data in a loop"),
        (skewed, 2, r"scratch\[0:3\] and scratch\[0:3\] of rank 0 overlap"),
    ],
)
def test_what_it_refuses(plan, n, message):
    with pytest.raises(PlanError, match=message):
        instances(plan(), n)
