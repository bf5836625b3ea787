import pytest

from hal.interface.dtypes import ReduceOp
from hal.plan import Channel, ChannelKind, Move, PlanBuilder, Span
from hal.plan.model import BufferKind, Plan, RankPlan


@pytest.fixture
def all_gather():
    """Two ranks that read each other's input."""
    p = PlanBuilder("all_gather", name="direct", ranks=2)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.output[rank.id], rank.input[0])
        block.signal(rank.others)
        for other in rank.others:
            block.wait([other])
            block.copy(rank.output[other.id], other.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
    return p.build()


@pytest.fixture
def everything():
    """A plan with every instruction, every field away from its default somewhere. It is valid and never run."""
    p = PlanBuilder(
        "custom",
        name="everything",
        ranks=2,
        split=2,
        root=1,
        align=128,
        scratch_chunk_bytes=4096,
        in_place=False,
        description="All of it: «ä»",
        input_chunks=4,
        output_chunks=4,
    )
    for rank in p.ranks:
        (other,) = rank.others
        full = rank.semaphore(3)
        first, second = rank.block(), rank.block()
        first.copy(other.scratch[0].packets, rank.input[0])
        first.move(rank.output[0:2], [rank.input[0:2], rank.scratch[0:2].packets], ReduceOp.MAX, final=True)
        first.post(other.output[2], rank.input[2], signal=True, flush=True)
        first.wait([other], port=True)
        first.flush(other)
        with first.loop(4096, slots=2):
            first.copy(rank.scratch[2], rank.input[3])
            first.signal([other], relaxed=True)
            first.wait([other], relaxed=True)
        for block in (first, second):
            block.sync()
            block.barrier(7, 2)
        first.acquire(full)
        second.release(full)
    plan = p.build()
    group = Channel(ChannelKind.SWITCH, (0, 1))
    ranks = []
    for rank in plan.ranks:
        switch = len(rank.channels)
        out = Span(BufferKind.OUTPUT, 3, switch=switch)
        reduce = Move((out,), (Span(BufferKind.INPUT, 3, switch=switch),))
        blocks = (*rank.blocks, (reduce,))
        ranks.append(
            RankPlan(
                rank.input_chunks,
                rank.output_chunks,
                rank.scratch_chunks,
                blocks,
                (*rank.channels, group),
                rank.semaphores,
            )
        )
    return Plan(
        plan.name,
        plan.collective,
        tuple(ranks),
        plan.split,
        plan.root,
        plan.align,
        plan.scratch_chunk_bytes,
        plan.in_place,
        plan.description,
    )
