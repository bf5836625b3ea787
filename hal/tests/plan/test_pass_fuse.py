"""`fuse`: fewer instructions that do the same, and what is left apart because it would not be the same."""

import numpy as np
import pytest

from hal.plan import Flush, Move, PlanBuilder, Post, Signal, Sync, Wait
from hal.plan.passes import fuse
from hal.plan.verify import verify
from hal.reference import run


def kinds(plan, rank=0, block=0):
    return [type(i).__name__ for i in plan.ranks[rank].blocks[block]]


def assert_same(plan, made, count=64, in_places=(False, True), op="sum"):
    chance = np.random.default_rng(2)
    inputs = [chance.standard_normal(count * r.input_chunks // plan.split).astype(np.float16) for r in plan.ranks]
    for seed in range(6):
        for in_place in in_places if plan.in_place else (False,):
            how = {"schedule": seed, "max_pieces": 3, "launches": 3, "in_place": in_place, "op": op, "count": count}
            before, after = (run(one, inputs, **how).launches for one in (plan, made))
            for one, other in zip(before, after, strict=True):
                for mine, theirs in zip(one, other, strict=True):
                    np.testing.assert_array_equal(mine, theirs)


def relay(size=3, *, packets=False):
    """A reduction at rank 0, whose result goes to the others: through its scratch, and by one copy each."""
    p = PlanBuilder("all_reduce", name="relay", ranks=size, even=True)
    root, *others = p.ranks

    def chunk(rank, number):
        return rank.scratch[number].packets if packets else rank.scratch[number]

    block = root.block()
    if not packets:
        block.wait(others)
    sums = [root.input[0], *(chunk(root, rank.id) for rank in others)]
    block.reduce(root.scratch[9], sums, final=True)
    block.sync()
    block.copy(root.output[0], root.scratch[9])
    for rank in others:
        block.copy(chunk(rank, 0), root.scratch[9])
    if not packets:
        block.signal(others)
    for rank in others:
        block = rank.block()
        block.copy(chunk(root, rank.id), rank.input[0])
        if not packets:
            block.signal([root])
            block.wait([root])
        block.copy(rank.output[0], chunk(rank, 0))
    return p.build()


@pytest.mark.parametrize("packets", [False, True])
@pytest.mark.parametrize("op", ["sum", "avg"])
def test_reduce_and_put(packets, op):
    plan = relay(packets=packets)
    made = fuse(plan)
    (move,) = (i for i in made.ranks[0].blocks[0] if isinstance(i, Move))
    # the scratch in between is gone
    assert {span.buffer.value for span in move.dst if span.peer is None} == {"output"}
    assert len(move.dst) == 3
    assert move.final
    assert verify(made).ok
    assert_same(plan, made, op=op)


def copies():
    p = PlanBuilder("broadcast", name="copies", ranks=3, root=0)
    root, *others = p.ranks
    block = root.block()
    block.copy(root.output[0], root.input[0])
    for rank in others:
        block.copy(rank.scratch[0], root.input[0])
    for rank in others:
        block.signal([rank])
    for rank in others:
        block = rank.block()
        block.wait([root])
        block.copy(rank.output[0], rank.scratch[0])
    return p.build()


def test_copies_of_one_source_and_signals_in_a_row():
    plan = copies()
    made = fuse(plan)
    assert kinds(made) == ["Move", "Signal"]
    assert len(made.ranks[0].blocks[0][0].dst) == 3
    assert verify(made).ok
    assert_same(plan, made)


def gets(*, read_again=False, over=False):
    """Fetches what others published, and reduces it afterwards."""
    p = PlanBuilder("all_reduce", name="gets", ranks=3, in_place=not over, even=True)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        block.signal(rank.others)
        for other in rank.others:
            block.wait([other])
        for other in rank.others:
            block.copy(rank.scratch[1 + other.id], other.scratch[0])
        block.sync()
        sources = [rank.input[0] if r is rank else rank.scratch[1 + r.id] for r in p.ranks]
        block.reduce(rank.output[0], sources, final=True)
        if read_again:
            block.sync()
            block.reduce(rank.output[0], sources, final=True)
    return p.build()


def test_get_and_reduce():
    plan = gets()
    made = fuse(plan)
    assert kinds(made) == ["Move", "Signal", "Wait", "Move"]
    assert {span.peer for span in made.ranks[0].blocks[0][-1].src} == {None, 1, 2}
    assert verify(made).ok
    assert_same(plan, made)


def test_what_is_read_twice_is_fetched_once():
    plan = gets(read_again=True, over=True)
    made = fuse(plan)
    assert kinds(made).count("Move") == kinds(plan).count("Move") == 5
    assert_same(plan, made)


def test_a_reduction_is_not_moved_into_another():
    """What is rounded in between stays rounded."""
    p = PlanBuilder("all_reduce", name="nested", ranks=1, split=3)
    (rank,) = p.ranks
    block = rank.block()
    block.reduce(rank.scratch[0], [rank.input[0], rank.input[0]])
    block.sync()
    block.reduce(rank.output[0], [rank.scratch[0], rank.input[0]], final=True)
    plan = p.build()
    assert fuse(plan) == plan


def test_copies_that_change_what_the_next_one_reads_stay_apart():
    p = PlanBuilder("all_reduce", name="shift", ranks=1, split=2)
    (rank,) = p.ranks
    block = rank.block()
    block.reduce(rank.output[0], [rank.input[0], rank.input[0]])
    block.sync()
    block.reduce(rank.scratch[0], [rank.input[0], rank.input[0]])
    plan = p.build()
    # in place the first has changed the input
    assert kinds(fuse(plan)) == ["Move", "Sync", "Move"]


def test_moves_of_other_lengths_stay_apart():
    """Pieces 0 and 1 of a count may differ in length, and so may what is stored of one scratch chunk."""
    p = PlanBuilder("broadcast", name="lengths", ranks=1, root=0, split=2)
    (rank,) = p.ranks
    block = rank.block()
    block.copy(rank.scratch[0], rank.input[0])
    block.sync()
    block.copy(rank.output[0], rank.scratch[0])
    block.sync()
    block.copy(rank.output[1], rank.scratch[0])
    made = fuse(p.build())
    lengths = [
        {(s.index, s.buffer.value) for s in (*m.dst, *m.src)} for m in made.ranks[0].blocks[0] if type(m) is Move
    ]
    assert not any({("output", 0), ("output", 1)} <= {(b, i) for i, b in spans} for spans in lengths)


def test_moves_are_brought_together_only_over_others_that_do_not_mind():
    p = PlanBuilder("custom", name="last", ranks=1, split=2, input_chunks=2, output_chunks=4, in_place=False, even=True)
    (rank,) = p.ranks
    block = rank.block()
    block.copy(rank.output[0], rank.input[0])
    block.copy(rank.output[1], rank.input[1])
    block.sync()
    block.copy(rank.output[1], rank.input[0])  # after the one before it
    block.copy(rank.output[2], rank.input[0])  # with the first
    plan = p.build()
    made = fuse(plan)
    moves = [i for i in made.ranks[0].blocks[0] if isinstance(i, Move)]
    # the last two go together, behind the one that stores what the third overwrites
    assert [[span.index for span in move.dst] for move in moves] == [[0], [1], [1, 2]]
    assert_same(plan, made)


def early():
    """Rank 0 may overwrite rank 1's output only after it has heard of it, by packets that a move in between awaits."""
    p = PlanBuilder("custom", name="early", ranks=2, input_chunks=1, output_chunks=2)
    first, second = p.ranks
    block = first.block()
    block.copy(first.output[0], first.input[0])
    block.copy(first.output[1], first.scratch[0].packets)
    block.copy(second.output[0], first.input[0])
    block.signal([second])
    block = second.block()
    block.copy(first.scratch[0].packets, second.input[0])
    block.copy(second.output[1], second.input[0])
    block.wait([first])
    return p.build()


def test_nothing_is_done_before_the_packets_it_relies_on():
    plan = early()
    made = fuse(plan)
    moves = [i for i in made.ranks[0].blocks[0] if isinstance(i, Move)]
    assert [move.dst[0].peer for move in moves][-1] == 1
    assert len(moves) == 3


def foreign():
    """Packets arrive one by one: what they are stored to must not be in use elsewhere until all have come."""
    p = PlanBuilder("custom", name="foreign", ranks=2, input_chunks=1, output_chunks=2)
    first, second = p.ranks
    block = first.block()
    block.copy(first.output[0], first.scratch[0].packets)
    block.sync()
    block.copy(second.output[1], first.output[0])
    block = second.block()
    block.copy(first.scratch[0].packets, second.input[0])
    return p.build()


def test_what_waits_for_packets_does_not_store_to_others_memory_early():
    assert kinds(fuse(foreign())) == ["Move", "Sync", "Move"]


def posts():
    p = PlanBuilder("send_recv", name="posts", ranks=2)
    sender, receiver = p.ranks
    block = sender.block()
    block.wait([receiver])
    block.post(receiver.output[0], sender.input[0], signal=True)
    block.flush(receiver)
    block = receiver.block()
    block.signal([sender])
    block.wait([sender], port=True)
    return p.build()


def test_a_post_and_its_flush():
    made = fuse(posts())
    assert [type(i) for i in made.ranks[0].blocks[0]] == [Wait, Post]
    assert made.ranks[0].blocks[0][1].flush
    assert not any(isinstance(i, Flush) for i in made.ranks[0].blocks[0])
    assert verify(made).ok


def test_signals_that_are_not_alike_stay_apart():
    p = PlanBuilder("barrier", name="signals", ranks=2)
    for rank in p.ranks:
        block = rank.block()
        block.signal(rank.others, relaxed=True)
        block.signal(rank.others, channel=1)
        block.signal(rank.others, channel=1)
        block.wait(rank.others, relaxed=True)
        block.wait(rank.others, channel=1)
        block.wait(rank.others, channel=1)
    plan = p.build()
    assert fuse(plan) == plan


def test_inside_loops():
    p = PlanBuilder("broadcast", name="loops", ranks=1, root=0, scratch_chunk_bytes=128)
    (rank,) = p.ranks
    block = rank.block()
    with block.loop(64, 2):
        block.copy(rank.scratch[0], rank.input[0])
        block.sync()
        block.copy(rank.output[0], rank.scratch[0])
    plan = p.build()
    made = fuse(plan)
    (loop,) = made.ranks[0].blocks[0]
    assert [len(move.dst) for move in loop.body if isinstance(move, Move)] == [1]
    assert_same(plan, made)


def test_everything_is_left_valid(everything):
    made = fuse(everything)
    assert not any(isinstance(i, Sync) for i in made.ranks[0].blocks[0])
    assert any(isinstance(i, Signal) for i in made.ranks[0].blocks[0][5].body)
