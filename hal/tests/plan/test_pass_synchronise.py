"""`synchronise` and `conflicts`: a sync where moves of one block would get in each other's way, and nowhere else."""

import dataclasses

import pytest

from hal.plan import Channel, ChannelKind, Move, PlanBuilder, Span, Sync, validate
from hal.plan.lower import walk
from hal.plan.model import BufferKind
from hal.plan.passes import conflicts, synchronise
from hal.plan.verify import verify

IN, OUT, SCRATCH = BufferKind.INPUT, BufferKind.OUTPUT, BufferKind.SCRATCH
SWITCH = (Channel(ChannelKind.SWITCH, (0, 1, 2)),)


def move(dst, src, part=0, parts=1):
    return Move((dst,), (src,), part=part, parts=parts)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        # read after write, write after read, write after write; reads alone
        (move(Span(SCRATCH, 0), Span(IN, 0)), move(Span(OUT, 0), Span(SCRATCH, 0)), True),
        (move(Span(OUT, 0), Span(SCRATCH, 0)), move(Span(SCRATCH, 0), Span(IN, 0)), True),
        (move(Span(OUT, 0), Span(IN, 0)), move(Span(OUT, 0), Span(IN, 1)), True),
        (move(Span(OUT, 0), Span(IN, 0)), move(Span(OUT, 1), Span(IN, 0)), False),
        # ranges, and other places
        (move(Span(OUT, 0, 2), Span(IN, 0, 2)), move(Span(SCRATCH, 0), Span(OUT, 1)), True),
        (move(Span(OUT, 0, 2), Span(IN, 0, 2)), move(Span(SCRATCH, 0), Span(OUT, 2)), False),
        (move(Span(OUT, 0, peer=1), Span(IN, 0)), move(Span(SCRATCH, 0), Span(OUT, 0)), False),
        (move(Span(OUT, 0, peer=1), Span(IN, 0)), move(Span(SCRATCH, 0), Span(OUT, 0, peer=1)), True),
        # packets lie at twice the place
        (move(Span(SCRATCH, 1, packet=True), Span(IN, 0)), move(Span(OUT, 0), Span(SCRATCH, 1)), False),
        (move(Span(SCRATCH, 1, packet=True), Span(IN, 0)), move(Span(OUT, 0), Span(SCRATCH, 3)), True),
        # all members of a switch group
        (move(Span(OUT, 0, switch=0), Span(IN, 0)), move(Span(SCRATCH, 0), Span(OUT, 0)), True),
        (move(Span(OUT, 0, switch=0), Span(IN, 0)), move(Span(SCRATCH, 0), Span(OUT, 0, peer=2)), True),
        (move(Span(OUT, 0, switch=0), Span(IN, 0)), move(Span(SCRATCH, 0), Span(OUT, 0, peer=3)), False),
        # parts of one range are disjoint; those of scratch may be cut of other lengths
        (move(Span(OUT, 0), Span(IN, 0), 0, 2), move(Span(OUT, 0), Span(IN, 1), 1, 2), False),
        (move(Span(OUT, 0), Span(IN, 0), 0, 2), move(Span(OUT, 0), Span(IN, 1), 0, 2), True),
        (move(Span(OUT, 0), Span(IN, 0), 0, 2), move(Span(OUT, 0), Span(IN, 1), 1, 3), True),
        (move(Span(OUT, 0, 2), Span(IN, 0, 2), 0, 2), move(Span(OUT, 0), Span(IN, 0), 1, 2), True),
        (move(Span(SCRATCH, 0), Span(IN, 0), 0, 2), move(Span(SCRATCH, 0), Span(IN, 1), 1, 2), True),
    ],
)
def test_conflicts(a, b, expected):
    assert conflicts(0, SWITCH, a, b) is expected
    assert conflicts(0, SWITCH, b, a) is expected


def reused(in_place):
    """Copies the input away and writes the output: in place they are the same memory, at an offset."""
    p = PlanBuilder("all_gather", name="reused", ranks=2, split=2, in_place=in_place)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        block.copy(rank.output[2 * rank.id], rank.input[1])
    return p.build()


def test_in_place_input_and_output_are_one_memory():
    plan = reused(in_place=True)
    (first, second) = plan.ranks[1].blocks[0]
    assert conflicts(1, (), first, second, plan=plan)
    assert not conflicts(1, (), first, second)
    apart = reused(in_place=False)
    assert not conflicts(1, (), first, second, plan=apart)
    assert synchronise(apart) is apart
    assert [type(i) for i in synchronise(plan).ranks[1].blocks[0]] == [Move, Sync, Move]


def relay(sync=False):
    p = PlanBuilder("broadcast", name="relay", ranks=2, root=0)
    root, leaf = p.ranks
    block = root.block()
    block.copy(root.output[0], root.input[0])
    if sync:
        block.sync()
    block.copy(leaf.scratch[0], root.output[0])
    block.signal([leaf])
    block = leaf.block()
    block.wait([root])
    block.copy(leaf.output[0], leaf.scratch[0])
    return p.build()


def test_it_mends_what_the_verifier_finds():
    assert {finding.code.value for finding in verify(relay()).findings} == {"missing-sync"}
    mended = synchronise(relay())
    assert mended == relay(sync=True)
    assert verify(mended).ok
    (sync,) = (i for i in walk(mended.ranks[0].blocks[0]) if isinstance(i, Sync))
    assert sync.source == mended.ranks[0].blocks[0][2].source


def test_as_few_as_needed():
    p = PlanBuilder("all_reduce", name="three", ranks=1, split=3)
    (rank,) = p.ranks
    block = rank.block()
    for chunk in range(3):
        block.copy(rank.scratch[chunk], rank.input[chunk])
    for chunk in range(3):
        block.reduce(rank.output[chunk], [rank.scratch[chunk]], final=True)
    assert [type(i).__name__ for i in synchronise(p.build()).ranks[0].blocks[0]] == [
        *["Move"] * 3,
        "Sync",
        *["Move"] * 3,
    ]


def looped(slots, *, waits=False, skewed=False):
    """A loop that fills a slot and empties it; `waits`: there is an instruction between; `skewed`: of other ranges."""
    p = PlanBuilder("all_reduce", name="looped", ranks=2, split=2, scratch_chunk_bytes=64 * max(slots, 1))
    for rank in p.ranks:
        block = rank.block()
        with block.loop(64, slots):
            block.copy(rank.scratch[0], rank.input[0])
            if waits:
                block.signal(rank.others)
                block.wait(rank.others)
            else:
                block.sync()
            block.copy(rank.output[int(skewed)], rank.scratch[0])
    return p.build()


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(("slots", "more"), [(1, 1), (2, 0), (0, 0)])
def test_the_end_of_a_piece_and_the_begin_of_the_next(slots, more, waits):
    plan = looped(slots, waits=waits)
    body = synchronise(plan).ranks[0].blocks[0][0].body
    assert len(body) == len(plan.ranks[0].blocks[0][0].body) + more
    assert isinstance(body[-1], Sync) is bool(more)


def test_a_loop_of_moves_alone_uses_its_slots_again():
    p = PlanBuilder("all_reduce", name="copies", ranks=1, scratch_chunk_bytes=128)
    (rank,) = p.ranks
    block = rank.block()
    with block.loop(64, 2):
        block.copy([rank.scratch[0], rank.output[0]], rank.input[0])
    made = synchronise(p.build())
    assert [type(i) for i in made.ranks[0].blocks[0][0].body] == [Move, Sync]


def test_around_a_loop_that_may_run_no_piece():
    p = PlanBuilder("all_reduce", name="around", ranks=2)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        with block.loop(64, 0):
            block.signal(rank.others)
            block.wait(rank.others)
        block.copy(rank.output[0], rank.scratch[0])
    names = [type(i).__name__ for i in synchronise(p.build()).ranks[0].blocks[0]]
    assert names == ["Move", "Loop", "Sync", "Move"]


def test_before_a_loop():
    p = PlanBuilder("all_reduce", name="before", ranks=1)
    (rank,) = p.ranks
    block = rank.block()
    block.copy(rank.scratch[0], rank.input[0])
    with block.loop(64, 0):
        block.copy(rank.output[0], rank.scratch[0])
    made = synchronise(p.build())
    assert [type(i).__name__ for i in made.ranks[0].blocks[0]] == ["Move", "Sync", "Loop"]
    assert made == synchronise(made)


def test_everything_stays(everything):
    made = synchronise(everything)
    validate(made)
    without = [
        dataclasses.replace(
            rank,
            blocks=tuple(tuple(i for i in block if not isinstance(i, Sync)) for block in rank.blocks),
        )
        for rank in (*made.ranks, *everything.ranks)
    ]
    assert without[: made.size] == without[made.size :]
