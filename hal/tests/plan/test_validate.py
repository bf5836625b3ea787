"""One test a rule: a valid plan is changed in one place, and the message says what is wrong and where."""

import re
from dataclasses import replace

import pytest

from hal.interface.dtypes import ReduceOp
from hal.interface.errors import PlanError
from hal.plan import (
    Acquire,
    Barrier,
    BufferKind,
    Channel,
    ChannelKind,
    Flush,
    Loop,
    Move,
    Plan,
    PlanBuilder,
    Post,
    RankPlan,
    Release,
    Signal,
    Span,
    Sync,
    Wait,
    validate,
)

IN, OUT, SCRATCH = (Span(kind, 0) for kind in BufferKind)
COPY = Move((OUT,), (IN,))
MEMORY, PORT = Channel(ChannelKind.MEMORY, (1,)), Channel(ChannelKind.PORT, (1,))


def mirrored(channel, rank):
    return channel if channel.kind is ChannelKind.SWITCH else replace(channel, peers=(1 - rank,))


CHANNELS = (MEMORY, PORT, Channel(ChannelKind.SWITCH, (0, 1)))
"""Of both ranks: 0 memory, 1 port, 2 switch."""


def plan_of(*instructions, collective="all_reduce", chunks=2, blocks=None, other=(), **options):
    """Two ranks of which the first runs `instructions` (or several `blocks`), the second `other`."""
    own = ((instructions,) if blocks is None else blocks, (other,))
    ranks = tuple(
        RankPlan(chunks, chunks, 4, own[rank], tuple(mirrored(c, rank) for c in CHANNELS), (0,)) for rank in range(2)
    )
    return Plan("p", collective, ranks, split=chunks, **options)


def refuse(plan, message):
    with pytest.raises(PlanError, match=re.escape(message)):
        validate(plan)


def at(problem, path="0"):
    return f"plan 'p': rank 0, block 0, instruction {path}: {problem}"


def test_valid_plans_pass(all_gather, everything):
    for plan in (all_gather, everything, plan_of(COPY)):
        validate(plan)


# -- the plan


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x1b[31m", "\ud800"])
def test_names(name):
    refuse(replace(plan_of(), name=name), "the name is not a printable text")


def test_descriptions():
    validate(plan_of(description="two\nlines"))
    refuse(plan_of(description="\x1b[31m"), "the description is not printable text")


def test_some_ranks():
    refuse(Plan("p", "barrier", ()), "the number of ranks is 0, allowed are 1 to 65536")


def test_collectives():
    refuse(plan_of(collective="allreduce"), "did you mean 'all_reduce'?")


def test_split_align_and_scratch():
    refuse(replace(plan_of(), split=0), "split is 0, allowed are 1 to 1048576")
    refuse(plan_of(align=48), "align is 48, allowed are powers of two up to 1048576")
    refuse(plan_of(align=0), "align is 0")
    refuse(plan_of(scratch_chunk_bytes=0), "scratch_chunk_bytes is 0, allowed are 1 to")


def test_roots():
    refuse(plan_of(root=0), "all_reduce has no root, but root is 0")
    refuse(plan_of(collective="reduce"), "reduce needs a root of 0 to 1")
    refuse(plan_of(collective="reduce", root=2), "root is 2, allowed are 0 to 1")
    validate(plan_of(collective="custom", root=1))


def test_buffers_are_as_large_as_the_collective_says():
    refuse(
        plan_of(collective="all_gather"), "rank 0: output_chunks is 2, but all_gather has 4 (2 times the split of 2)"
    )
    validate(replace(plan_of(collective="custom"), split=7))


def test_chunks_are_limited():
    custom = plan_of(collective="custom")
    for name in ("input_chunks", "output_chunks", "scratch_chunks"):
        rank = replace(custom.ranks[0], **{name: 10**9})
        refuse(
            replace(custom, ranks=(rank, custom.ranks[1])), f"rank 0: {name} is 1000000000, allowed are 0 to 1048576"
        )
    many = tuple(RankPlan(1 << 20, (1 << 20) - 1 - r, 0, ()) for r in range(8))
    refuse(replace(custom, ranks=many), "the number of different chunks is")


def test_semaphores_begin_in_range():
    plan = plan_of()
    rank = replace(plan.ranks[0], semaphores=(0, -1))
    refuse(replace(plan, ranks=(rank, plan.ranks[1])), "rank 0: semaphore 1 is -1, allowed are 0 to 2147483647")


# -- channels


def channels(first, second=()):
    plan = plan_of()
    return replace(plan, ranks=tuple(replace(r, channels=c) for r, c in zip(plan.ranks, (first, second), strict=True)))


def test_peers_exist():
    refuse(channels((Channel(ChannelKind.MEMORY, (2,)),)), "rank 0, channel 0: peer is 2, allowed are 0 to 1")
    refuse(channels((Channel(ChannelKind.PORT, (0,)),)), "rank 0, channel 0: its peer is this rank itself")
    refuse(channels((Channel(ChannelKind.MEMORY, (1, 1)),)), "a memory channel has one peer, not 2")


def test_channels_have_two_ends():
    refuse(
        channels((MEMORY, MEMORY), (mirrored(MEMORY, 1),)), "rank 0 has 2 memory channels to rank 1, which has 1 to it"
    )
    refuse(channels((MEMORY,), (mirrored(PORT, 1),)), "rank 0 has 1 memory channels to rank 1, which has 0")


def test_switch_groups():
    def group(*members):
        return Channel(ChannelKind.SWITCH, members)

    refuse(channels((group(0),)), "a switch channel has two or more different ranks")
    refuse(channels((group(0, 0),)), "a switch channel has two or more different ranks")
    plan = Plan("p", "barrier", tuple(RankPlan(0, 0, 0, (), (group(1, 2),)) for _ in range(3)))
    refuse(plan, "rank 0, channel 0: its ranks 1, 2 are without this one")
    refuse(channels((group(0, 1),)), "rank 0 has 1 switch channels of ranks 0, 1, rank 1 has 0 of the same ranks")
    refuse(channels((group(0, 1),), (group(1, 0),)), "in that order")


# -- instructions


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (Signal(()), "signal names no channel"),
        (Wait((3,)), "channel is 3, allowed are 0 to 2"),
        (Wait((-1,)), "channel is -1, allowed are 0 to 2"),
        (Signal((2,)), "channel 2 is a switch channel, allowed is memory or port"),
        (Flush(0), "channel 0 is a memory channel, allowed is port"),
        (Post(0, OUT, IN), "channel 0 is a memory channel, allowed is port"),
        (Barrier(1024, 1), "barrier is 1024, allowed are 0 to 1023"),
        (Acquire(1), "semaphore is 1, allowed are 0 to 0"),
        (Release(-1), "semaphore is -1, allowed are 0 to 0"),
    ],
)
def test_what_instructions_name_exists(instruction, message):
    refuse(plan_of(instruction), at(message))


def test_a_rank_without_channels_has_none():
    plan = Plan("p", "barrier", (RankPlan(0, 0, 0, ((Wait((0,)),),)),))
    refuse(plan, at("channel is 0: none exists"))


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (Span(BufferKind.INPUT, 2), "input[2]: 1 chunks from 2 on, but the input of rank 0 has 2"),
        (Span(BufferKind.INPUT, -1), "1 chunks from -1 on"),
        (Span(BufferKind.INPUT, 0, 0), "0 chunks from 0 on"),
        (Span(BufferKind.INPUT, 1, 2), "input[1:3]: 2 chunks from 1 on, but the input of rank 0 has 2"),
        (Span(BufferKind.SCRATCH, 4, peer=1), "scratch[4]@1: 1 chunks from 4 on, but the scratch of rank 1 has 4"),
        (Span(BufferKind.SCRATCH, 4, switch=2), "but the scratch of a member has 4"),
        (Span(BufferKind.INPUT, 0, peer=2), "peer is 2, allowed are 0 to 1"),
        (Span(BufferKind.INPUT, 0, peer=0), "the peer is this rank itself"),
        (Span(BufferKind.INPUT, 0, packet=True), "input[0].packets: packets lie in scratch alone"),
        (Span(BufferKind.INPUT, 0, switch=0), "channel 0 is a memory channel, allowed is switch"),
        (Span(BufferKind.INPUT, 0, switch=9), "channel is 9, allowed are 0 to 2"),
        (Span(BufferKind.INPUT, 0, peer=1, switch=2), "has both a peer and a switch"),
        (Span(BufferKind.SCRATCH, 0, packet=True, switch=2), "a switch reduces plain data, not packets"),
    ],
)
def test_operands_exist(span, message):
    refuse(plan_of(Move((OUT,), (span,))), message)


def test_a_switch_operand_is_within_every_member():
    plan = plan_of(Move((Span(BufferKind.OUTPUT, 1, switch=2),), (IN,)), collective="custom")
    validate(plan)
    small = replace(plan.ranks[1], output_chunks=1)
    refuse(replace(plan, ranks=(plan.ranks[0], small)), "1 chunks from 1 on, but the output of a member has 1")


def test_moves_have_operands():
    refuse(plan_of(Move((), (IN,))), at("a move has one or more sources and destinations"))
    refuse(plan_of(Move((OUT,), ())), at("a move has one or more sources and destinations"))
    refuse(plan_of(Move((OUT,), (IN,) * 5000)), at("the number of operands is 5001, allowed are 2 to 4096"))


def test_the_length_of_a_move_follows_from_its_operands():
    refuse(plan_of(Move((SCRATCH,), (replace(SCRATCH, index=1),))), at("all operands are scratch"))
    refuse(
        plan_of(Move((OUT,), (replace(IN, size=2),))), at("input and output operands of 1, 2 chunks differ in length")
    )
    refuse(plan_of(Post(1, SCRATCH, SCRATCH)), at("all operands are scratch"))


def test_a_reduction_needs_an_operation():
    both = Move((OUT,), (IN, replace(IN, peer=1)))
    switch = Move((OUT,), (replace(IN, switch=2),))
    for move in (both, switch):
        validate(plan_of(move))
        refuse(gathering(move), "the reduction of the call is asked for, but all_to_all has none")
        validate(gathering(replace(move, op=ReduceOp.SUM)))
    refuse(gathering(replace(COPY, final=True)), "final has no meaning in all_to_all")


def gathering(*instructions):
    """The same in an all_to_all, which does not reduce."""
    return replace(plan_of(*instructions), collective="all_to_all", split=1)


def test_operands_that_overlap():
    two = replace(IN, size=2)
    one = replace(IN, index=1)
    scratch = Span(BufferKind.SCRATCH, 0, 2)
    overlap = "a destination overlaps another operand without being the same"
    validate(plan_of(Move((OUT,), (OUT, IN))))
    validate(plan_of(Move((replace(IN, peer=1),), (IN,))))
    validate(plan_of(Move((scratch,), (two,))))
    custom = {"collective": "custom"}
    refuse(plan_of(Move((OUT, OUT), (IN,))), at(overlap))
    refuse(plan_of(Move((scratch,), (replace(scratch, index=1), two)), **custom), at(overlap))
    refuse(plan_of(Move((replace(OUT, switch=2), replace(OUT, peer=1)), (one,))), at(overlap))
    # chunk 1 in packet form lies where plain chunks 2 and 3 do
    packets = Span(BufferKind.SCRATCH, 1, packet=True)
    validate(plan_of(Move((replace(scratch, size=1),), (packets, IN))))
    refuse(plan_of(Move((packets,), (Span(BufferKind.SCRATCH, 3), IN))), at(overlap))


def test_posts_name_no_peer_and_are_of_one_form():
    refuse(plan_of(Post(1, replace(OUT, peer=1), IN)), at("dst of a post names no peer or switch"))
    refuse(plan_of(Post(1, OUT, replace(IN, switch=2))), at("src of a post names no peer or switch"))
    refuse(
        plan_of(Post(1, replace(SCRATCH, packet=True), IN)),
        at("dst of a post is in packets, the other operand is plain: both are, or none"),
    )
    refuse(
        plan_of(Post(1, replace(OUT, index=2), IN)), at("output[2]: 1 chunks from 2 on, but the output of rank 1 has 2")
    )


def test_loops():
    refuse(plan_of(Loop(0, (COPY,))), at("unit is 0, allowed are 64 to"))
    refuse(plan_of(Loop(96, (COPY,))), at("unit is 96, allowed are multiples of 64"))
    refuse(plan_of(Loop(64, (COPY,), 65537)), at("slots is 65537, allowed are 0 to 65536"))
    refuse(plan_of(Loop(64, ())), at("a loop has a body"))
    refuse(plan_of(Loop(64, (Loop(64, (COPY,)),))), at("a loop inside a loop is not allowed", "0.0"))
    refuse(plan_of(Sync(), Loop(64, (COPY, Flush(0)))), at("channel 0 is a memory channel", "1.1"))


# -- signals, waits and barriers


def test_signals_meet_waits():
    validate(plan_of(Signal((0,)), other=(Wait((0,)),)))
    refuse(
        plan_of(Signal((0, 0)), other=(Wait((0,)),)),
        "rank 0, channel 0 to rank 1: 2 signals outside of loops, but rank 1 waits for 1 on its channel 0",
    )
    refuse(
        plan_of(other=(Wait((1,)),)), "rank 0, channel 1 to rank 1: 0 signals outside of loops, but rank 1 waits for 1"
    )
    validate(plan_of(Post(1, OUT, IN, signal=True), other=(Wait((1,)),)))
    refuse(plan_of(Post(1, OUT, IN, signal=True)), "rank 0, channel 1 to rank 1: 1 signals outside of loops")


def test_signals_meet_waits_in_loops_of_the_same_unit():
    validate(plan_of(Loop(64, (Signal((0,)),)), other=(Loop(64, (Wait((0,)),), 3),)))
    validate(plan_of(Loop(64, (Signal((0,)),)), Loop(64, (Signal((0,)),)), other=(Loop(64, (Wait((0, 0)),)),)))
    refuse(
        plan_of(Loop(64, (Signal((0,)),)), other=(Loop(128, (Wait((0,)),)),)),
        "rank 0, channel 0 to rank 1: 1 signals a piece in loops of unit 64, but rank 1 waits for 0 on its channel 0",
    )
    refuse(plan_of(Loop(64, (Signal((0,)),)), other=(Wait((0,)),)), "but rank 1 waits for 1")


def test_barriers_are_of_the_blocks_that_use_them():
    validate(plan_of(blocks=((Barrier(0, 2),), (Barrier(0, 2),))))
    refuse(
        plan_of(blocks=((Barrier(0, 3),), (Barrier(0, 3),))), "rank 0, barrier 0: said to be of 3 blocks, but used by 2"
    )
    refuse(
        plan_of(blocks=((Barrier(0, 2), Barrier(0, 2)), (Barrier(0, 2),))),
        "blocks 0, 1 do not meet there equally often",
    )
    refuse(
        plan_of(blocks=((Barrier(0, 2),), (Loop(64, (Barrier(0, 2),)),))), "blocks 0, 1 do not meet there equally often"
    )


# -- the message


def test_a_message_lists_several_problems_and_not_too_many():
    refuse(plan_of(Flush(0), Flush(9)), "plan 'p' has 2 problems:\n  rank 0, block 0, instruction 0: channel 0")
    with pytest.raises(PlanError, match="has 10 or more problems") as caught:
        validate(plan_of(*[Flush(0)] * 1000))
    assert len(caught.value.message.splitlines()) == 11


@pytest.mark.timeout(60)
def test_large_moves_are_checked_in_good_time():
    p = PlanBuilder("custom", name="p", ranks=2, input_chunks=2000, output_chunks=2000)
    rank = p.ranks[0]
    for _ in range(20):
        rank.block().move([rank.output[i] for i in range(2000)], [rank.input[i] for i in range(2000)])
    validate(p.build())
