"""Plans made to deceive the verifier: wrong ones that look right at most counts, right ones that look wrong.

Every wrong one is refused, and where the reference can show it, a schedule at some count breaks it.
"""

import pytest

from hal.interface.dtypes import ReduceOp
from hal.plan import PlanBuilder
from hal.plan.findings import Code
from hal.plan.verify import verify

from .attacking import UNIT, codes, is_right, is_wrong, outcomes, pair

# -- ports


def staged_posts(*, how):
    """Block 0 posts from scratch, block 1 fills it again after a flush that nothing orders after the post."""
    p, a, b = pair(split=2, even=True)
    first, second, reader = a.block(), a.block(), b.block()
    first.copy(a.output[0:2], a.input[0:2])
    first.copy(a.scratch[0], a.input[0])
    first.post(b.scratch[0], a.scratch[0], signal=True, channel=0)
    if how == "barrier":
        first.barrier(0, 2)
        second.barrier(0, 2)
    second.flush(b, channel=0)
    second.copy(a.scratch[0], a.input[1])
    second.post(b.scratch[1], a.scratch[0], signal=True, channel=0 if how == "barrier" else 1)
    reader.wait([a], port=True, channel=0)
    reader.wait([a], port=True, channel=0 if how == "barrier" else 1)
    reader.copy(b.output[0:2], b.scratch[0:2])
    return p.build()


def test_a_flush_of_posts_that_another_block_may_not_have_made():
    plan = staged_posts(how="flush")
    assert Code.CONTENDED in codes(plan)
    assert len(outcomes(plan, 32)) > 1


def test_a_port_of_two_blocks_that_a_barrier_orders():
    is_right(staged_posts(how="barrier"), 32, 96)


# -- operations, ranks, blocks


@pytest.mark.parametrize("op", [ReduceOp.MAX, ReduceOp.SUM])
def test_ranks_that_reduce_by_different_operations(op):
    def plan(*ops):
        p = PlanBuilder("all_reduce", name="ops", ranks=2)
        for rank, each in zip(p.ranks, ops, strict=True):
            block = rank.block()
            block.copy(rank.scratch[0], rank.input[0])
            block.signal(rank.others)
            block.wait(rank.others)
            block.move(rank.output[0], [r.scratch[0] for r in p.ranks], each, final=True)
        return p.build()

    assert verify(plan(op, op)).ok
    is_wrong(plan(op, None), Code.WRONG_RESULT)


def test_a_custom_plan_for_which_sharing_is_not_defined():
    p = PlanBuilder("custom", name="custom", ranks=3, input_chunks=1, output_chunks=2)
    for rank in p.ranks:
        rank.block().copy(rank.output[1], rank.input[0])
    assert verify(p.build()).ok
    p = PlanBuilder("custom", name="custom", ranks=3, input_chunks=1, output_chunks=2, aliased=True)
    for rank in p.ranks:
        rank.block().copy(rank.output[1], rank.input[0])
    is_wrong(p.build(), Code.MALFORMED)


def test_a_rank_without_blocks_has_never_begun():
    p, a, b = pair(collective="all_gather")
    block = a.block()
    block.copy(a.output[0], a.input[0])
    block.copy(a.output[1], b.input[0])
    assert Code.LAUNCH_ORDER in codes(p.build())
    p = PlanBuilder("reduce", name="alone", ranks=1, root=0)
    assert codes(p.build()) == {Code.WRONG_RESULT}


def test_a_rank_alone():
    p = PlanBuilder("all_to_all", name="alone", ranks=1)
    (rank,) = p.ranks
    rank.block().copy(rank.output[0], rank.input[0])
    is_right(p.build(), 0, 1, 100)


def test_the_earlier_of_several_reads_without_a_sync():
    """The move that writes has itself read what it writes, after another that is not ordered before it."""
    p = PlanBuilder("all_reduce", name="reads", ranks=1)
    (rank,) = p.ranks
    block = rank.block()
    block.reduce(rank.output[0], [rank.input[0]], final=True)
    block.sync()
    for chunk in range(3):
        block.copy(rank.scratch[chunk], rank.output[0])
    block.copy(rank.output[0], rank.output[0])
    is_wrong(p.build(), Code.MISSING_SYNC)


# -- signals of several blocks


def collected(throttled):
    """Three blocks publish a piece each and release a semaphore; a fourth acquires it three times, then reads all."""
    p = PlanBuilder("all_reduce", name="collect", ranks=1, split=3, scratch_chunk_bytes=UNIT)
    (rank,) = p.ranks
    done, *go = rank.semaphore(), *(rank.semaphore(1) for _ in range(3))
    for chunk in range(3):
        block = rank.block()
        with block.loop(UNIT):
            if throttled:
                block.acquire(go[chunk])
            block.copy(rank.scratch[chunk], rank.input[chunk])
            block.release(done)
    last = rank.block()
    with last.loop(UNIT):
        for _ in range(3):
            last.acquire(done)
        for chunk in range(3):
            last.reduce(rank.output[chunk], [rank.scratch[chunk]], final=True)
        for semaphore in go if throttled else ():
            last.release(semaphore)
    return p.build()


def signalled(waits):
    """Two blocks put a chunk each and signal by one channel; the other rank reads the first after so many waits."""
    p, a, b = pair(split=2)
    whole = a.block()
    whole.copy(a.output[0:2], a.input[0:2])
    for chunk in range(2):
        block = a.block()
        block.copy(b.scratch[chunk], a.input[chunk])
        block.signal([b], channel=0)
    reader = b.block()
    reader.wait([a], channel=0)
    if waits == 1:
        reader.copy(b.output[0], b.scratch[0])
    reader.wait([a], channel=0)
    if waits == 2:
        reader.copy(b.output[0], b.scratch[0])
    reader.copy(b.output[1], b.scratch[1])
    return p.build()


def test_a_wait_for_the_signals_of_all_needs_not_know_whose_they_are():
    is_right(signalled(waits=2), 1, 300)
    is_wrong(signalled(waits=1), Code.DATA_RACE, Code.CONTENDED)
    assert len(outcomes(signalled(waits=1), 300)) > 1


def test_workers_that_run_ahead_signal_for_each_other():
    is_right(collected(throttled=True), 1, 1500)
    plan = collected(throttled=False)
    assert Code.CONTENDED in codes(plan)
    assert len(outcomes(plan, 1500)) > 1
