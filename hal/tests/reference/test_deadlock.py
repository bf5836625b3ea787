"""A plan in which no block can go on is reported: where each block stands, and what it waits for."""

import re

import pytest

from hal.interface.errors import PlanError
from hal.plan import PlanBuilder, validate
from hal.reference import Deadlock, run


def deadlock(plan, inputs, **options):
    validate(plan)
    with pytest.raises(Deadlock) as caught:
        run(plan, inputs, **options)
    assert isinstance(caught.value, PlanError)
    lines = caught.value.message.splitlines()
    assert lines[0] == f"plan {plan.name!r} is in deadlock:"
    assert [line.strip() for line in lines[1:]] == [str(stall) for stall in caught.value.stalls]
    return caught.value.stalls


def custom(ranks):
    return PlanBuilder("custom", name="stuck", ranks=ranks, input_chunks=1, output_chunks=1)


@pytest.mark.parametrize("schedule", [None, 1, 2])
def test_two_ranks_that_wait_for_each_other(schedule, numbers):
    p = custom(2)
    for rank in p.ranks:
        block = rank.block()
        block.sync()
        block.wait(rank.others)
        block.signal(rank.others)
    stalls = deadlock(p.build(), numbers(2, 4), schedule=schedule)
    assert [str(stall) for stall in stalls] == [
        "rank 0, block 0, launch 1, instruction 1: wait 1 (channel 0): "
        "waits for signals of rank 1 on channel 0: expected 1, seen 0",
        "rank 1, block 0, launch 1, instruction 1: wait 0 (channel 0): "
        "waits for signals of rank 0 on channel 0: expected 1, seen 0",
    ]
    assert [(s.rank, s.peer, s.channel, s.path) for s in stalls] == [(0, 1, 0, (1,)), (1, 0, 0, (1,))]


def test_each_channel_of_a_wait_has_its_own_count_and_done_blocks_are_left_out(numbers):
    p = custom(3)
    first, second, third = p.ranks
    block = first.block()
    block.wait([second, third])
    block.wait([second, third])
    block.signal([third])
    block = second.block()
    block.signal([first])
    block.signal([first])
    block = third.block()
    block.signal([first])
    block.wait([first])
    block.signal([first])
    stalls = deadlock(p.build(), numbers(3, 4))
    assert [(s.rank, s.peer, s.expected, s.seen) for s in stalls] == [(0, 2, 2, 1), (2, 0, 1, 0)]


def test_packets(numbers):
    p = custom(2)
    first, second = p.ranks
    block = first.block()
    block.copy(first.output[0], first.scratch[0].packets)
    block.signal([second])
    block = second.block()
    block.wait([first])
    block.copy(first.scratch[0].packets, second.input[0])
    packets, signal = deadlock(p.build(), numbers(2, 5))
    assert packets.text == "move output[0] <- scratch[0].packets"
    assert (packets.waits_for, packets.expected, packets.seen) == ("packets in scratch of rank 0", 5, 0)
    assert signal.rank == 1


def test_barriers_and_semaphores(numbers):
    p = custom(1)
    (rank,) = p.ranks
    semaphore = rank.semaphore()
    one, two = rank.block(), rank.block()
    one.barrier(4, 2)
    one.release(semaphore)
    two.acquire(semaphore)
    two.barrier(4, 2)
    barrier, acquire = deadlock(p.build(), numbers(1, 4))
    assert (barrier.block, barrier.waits_for, barrier.expected, barrier.seen) == (0, "blocks at barrier 4", 2, 1)
    assert (acquire.block, acquire.waits_for, acquire.expected, acquire.seen) == (1, "semaphore 0", 1, 0)


def test_a_place_in_a_loop(numbers):
    p = custom(2)
    for rank in p.ranks:
        block = rank.block()
        with block.loop(64):
            block.copy(rank.output[0], rank.input[0])
            block.wait(rank.others)
            block.signal(rank.others)
    stalls = deadlock(p.build(), numbers(2, 4))
    assert [stall.path for stall in stalls] == [(0, 1), (0, 1)]
    assert re.search(r"instruction 0\.1: wait 1", str(stalls[0]))


def test_signals_are_counted_afresh_in_every_launch(numbers):
    """Rank 1 signals first and leaves: it may be a launch ahead, and its signals then are none of this launch."""
    p = custom(2)
    first, second = p.ranks
    block = first.block()
    block.wait([second])
    block.signal([second])
    second.block().signal([first])
    block = second.block()
    block.wait([first], channel=0)
    plan = p.build()
    for seed in range(10):
        run(plan, numbers(2, 4), schedule=seed, launches=4)


def test_the_launch_is_named(numbers):
    """Stuck in the second launch alone: the schedule lets rank 0 take the last slot twice."""
    p = custom(1)
    (rank,) = p.ranks
    semaphore = rank.semaphore(1)
    one, two = rank.block(), rank.block()
    for block in (one, two):
        block.acquire(semaphore)
    one.release(semaphore)

    def schedule(ready):
        wanted = 0 if ready[0].launch < 2 else 1
        return next((task for task in ready if task.number == wanted), ready[0])

    (stall,) = deadlock(p.build(), numbers(1, 4), schedule=schedule, launches=3)
    assert (stall.launch, stall.block, stall.waits_for) == (2, 0, "semaphore 0")
