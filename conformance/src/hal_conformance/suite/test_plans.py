"""Plans: that an executor does what the reference interpreter does, with plans of every kind and calls in any order."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from hal import reference
from hal.interface.device import Memory
from hal.interface.dtypes import DType, ReduceOp
from hal.plan.builder import PlanBuilder
from hal.plan.collective import Collective
from hal.plan.layout import Layout
from hal.plan.model import Plan
from hal_conformance import chance, data, expect, litmus, programs
from hal_conformance.rank import Rank
from hal_conformance.repeating import from_before, own, repeat

clause = pytest.mark.clause
group = pytest.mark.ranks("group", least=2)
everyone = pytest.mark.ranks("group")


def _against_reference(rank: Rank, plan: Plan, dtype: DType, count: int, launches: int = 1) -> None:
    inputs = [data.numbers(rank.random, 1, part.input_chunks * count // plan.split, dtype)[0] for part in plan.ranks]
    outputs = b""
    if rank.id == 0:  # once for all: the interpreter takes its time
        outputs = b"".join(output.tobytes() for output in reference.run(plan, inputs, count=count).outputs)
    everything = np.frombuffer(rank.exchange(outputs)[0], dtype.numpy)
    lengths = [part.output_chunks * count // plan.split for part in plan.ranks]
    wanted = everything[sum(lengths[: rank.id]) : sum(lengths[: rank.id + 1])]
    for seen in rank.run(plan, inputs, ReduceOp.SUM, count=count, launches=launches):
        expect.same_numbers(seen, wanted, f"{plan.name} on {count} {dtype.label}")


@clause("HAL-EXE-013", "HAL-EXE-014")
@everyone
@pytest.mark.limit(240)
def test_random_plans(rank: Rank) -> None:
    for _ in range(rank.times(150, 25)):
        dtype = rank.random.choice(list(DType))
        plan = chance.random_plan(rank.random, rank.size, dtype)
        _against_reference(rank, plan, dtype, rank.random.choice([0, 1, 3, 64, 65, 500]), launches=2)


@clause("HAL-EXE-014", "HAL-EXE-013")
@everyone
@pytest.mark.parametrize("kind", programs.KINDS)
def test_every_count(rank: Rank, kind: str) -> None:
    plan = programs.collective_plan(Collective.ALL_REDUCE, kind, rank.size)
    for count in data.COUNTS:
        for dtype in (DType.UINT8, DType.FLOAT16, DType.INT32, DType.FLOAT64):
            inputs = data.numbers(rank.random, rank.size, count, dtype)
            (seen,) = rank.run(plan, inputs, count=count)
            wanted = data.reduced(inputs, dtype, ReduceOp.SUM)
            expect.same_bits(seen, wanted, f"the sum of {count} {dtype.label} by {kind}")


@clause("HAL-EXE-016")
@everyone
def test_loops(rank: Rank) -> None:
    plan = programs.collective_plan(Collective.ALL_REDUCE, "pieces", rank.size)
    unit = programs.UNIT // 4
    for pieces in (0, 1, 2, 3, 7, 20):
        for more in (-1, 0, 1, 5):
            count = max(0, pieces * unit + more)
            inputs = data.numbers(rank.random, rank.size, count, DType.INT32)
            for seen in rank.run(plan, inputs, count=count, launches=3):
                wanted = data.reduced(inputs, DType.INT32, ReduceOp.SUM)
                expect.same_bits(seen, wanted, f"the sum of {count} elements, in pieces of {unit}")


def _in_parts(size: int, parts: int) -> Plan:
    """Each block moves its part of everything."""
    p = PlanBuilder("all_reduce", name=f"in_{parts}_parts", ranks=size, align=16, in_place=False)
    for rank in p.ranks:
        for part in range(parts):
            block = rank.block()
            block.copy(rank.scratch[0], rank.input[0], part=(part, parts))
            if rank.others:
                block.signal(rank.others)
                block.wait(rank.others)
            else:
                block.sync()
            block.reduce(rank.output[0], [r.scratch[0] for r in p.ranks], final=True, part=(part, parts))
    return p.build()


@clause("HAL-EXE-017")
@everyone
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_parts(rank: Rank, parts: int) -> None:
    plan = _in_parts(rank.size, parts)
    for count in data.COUNTS:
        for dtype in (DType.UINT8, DType.INT64):
            inputs = data.numbers(rank.random, rank.size, count, dtype)
            (seen,) = rank.run(plan, inputs, count=count)
            wanted = data.reduced(inputs, dtype, ReduceOp.SUM)
            expect.same_bits(seen, wanted, f"the sum of {count} {dtype.label} in {parts} parts")


@clause("HAL-EXE-018")
@everyone
@pytest.mark.parametrize("kind", programs.IN_PLACE)
def test_in_place(rank: Rank, kind: str) -> None:
    for collective in (Collective.ALL_REDUCE, Collective.ALL_GATHER, Collective.REDUCE_SCATTER):
        plan = programs.collective_plan(collective, kind, rank.size)
        for count in (1, 17, 1000):
            blocks = collective.blocks(rank.size, rank.id)
            inputs = data.numbers(rank.random, rank.size, blocks[0] * count, DType.INT32)
            wanted = data.expected(collective, inputs, DType.INT32, ReduceOp.SUM, 0)[rank.id]
            both = rank.allocate(4 * count * max(blocks))
            own_block = both.address + 4 * count * rank.id * (blocks[0] != blocks[1])
            starts = (both.address if blocks[0] >= blocks[1] else own_block, both.address)
            starts = (starts[0], own_block if blocks[0] > blocks[1] else both.address)
            source = Memory(starts[0], 4 * count * blocks[0], rank.device)
            target = Memory(starts[1], 4 * count * blocks[1], rank.device)
            rank.write(source, inputs[rank.id])
            rank.start(rank.load(plan, count, DType.INT32), source, target)
            seen = rank.from_device(target, count * blocks[1], DType.INT32)
            expect.same_bits(seen, wanted, f"{collective.label} of {count} elements in place, by {kind}")


def _always(layout: Layout, plan: Plan) -> Layout:
    return layout


@clause("HAL-EXE-019")
@everyone
def test_chunks_of_different_lengths(rank: Rank) -> None:
    plan = programs.collective_plan(Collective.ALL_GATHER, "scratch", rank.size)
    for _ in range(rank.times(20, 5)):
        counts = [rank.random.choice([0, 1, 7, 100, 1000]) for _ in range(rank.size)]
        starts = np.cumsum([0, *counts]).tolist()
        outputs = tuple((starts[r], counts[r]) for r in range(rank.size))
        layout = Layout.explicit(plan, tuple(((0, n),) for n in counts), (outputs,) * rank.size, 4)
        inputs = [data.numbers(rank.random, 1, n, DType.INT32)[0] for n in counts]
        executable = rank.load(plan, 0, DType.INT32, layout=partial(_always, layout))
        source, target = rank.to_device(inputs[rank.id]), rank.to_device(np.zeros(sum(counts), np.int32))
        rank.start(executable, source, target)
        seen = rank.from_device(target, sum(counts), DType.INT32)
        expect.same_bits(seen, np.concatenate(inputs), f"gathered blocks of {counts} elements")


@clause("HAL-EXE-021")
@everyone
def test_several_executables_in_turns(rank: Rank) -> None:
    made = []
    for kind in programs.KINDS:
        for count in (1, 100, 3000):
            inputs = data.numbers(rank.random, rank.size, count, DType.INT32)
            plan = programs.collective_plan(Collective.ALL_REDUCE, kind, rank.size)
            target = rank.allocate(4 * count)
            executable = rank.load(plan, count, DType.INT32)
            wanted = data.reduced(inputs, DType.INT32, ReduceOp.SUM)
            made.append((executable, rank.to_device(inputs[rank.id]), target, wanted, f"{count} elements by {kind}"))
    for turn in range(rank.times(2000, 300)):
        executable, source, target, wanted, what = made[rank.random.randrange(len(made))]
        rank.device.fill(target.address, turn % 256, wanted.nbytes)
        rank.start(executable, source, Memory(target.address, wanted.nbytes, rank.device))
        seen = rank.from_device(target, wanted.size, DType.INT32)
        expect.same_bits(seen, wanted, f"the sum of {what}, call {turn}")


@clause("HAL-EXE-022", "HAL-EXE-021")
@group
def test_running_ahead(rank: Rank) -> None:
    """All calls are made before any result is looked at, so that fast ranks are as far ahead as they may be."""
    plan = programs.collective_plan(Collective.ALL_REDUCE, "scratch", rank.size)
    for count in (1, 2000):
        executable = rank.load(plan, count, DType.INT32)
        every = [data.numbers(rank.random, rank.size, count, DType.INT32) for _ in range(rank.times(300, 60))]
        sources = [rank.to_device(inputs[rank.id]) for inputs in every]
        targets = [rank.to_device(np.zeros(count, np.int32)) for _ in every]
        for source, target in zip(sources, targets, strict=True):
            rank.delay(0.001)
            rank.start(executable, source, target)
        for launch, (inputs, target) in enumerate(zip(every, targets, strict=True)):
            wanted = data.reduced(inputs, DType.INT32, ReduceOp.SUM)
            seen = rank.from_device(target, count, DType.INT32)
            expect.same_bits(seen, wanted, f"the sum of launch {launch}, {count} elements")


@clause("HAL-EXE-023")
@pytest.mark.parametrize("blocks", [2, 64, 200])
def test_blocks_that_wait_for_each_other(rank: Rank, blocks: int) -> None:
    plan = litmus.chain_of_blocks(blocks)
    for count in (1, 1000):
        inputs = data.numbers(rank.random, 1, count, DType.UINT8)
        wanted = (inputs[0].astype(np.uint64) * blocks).astype(np.uint8)
        wanted = reference.run(plan, inputs, count=count).outputs[0] if blocks < 10 else wanted + inputs[0]
        for seen in rank.run(plan, inputs, count=count, launches=rank.times(20, 5)):
            expect.same_bits(seen, wanted, f"the sum along a chain of {blocks} blocks")


@clause("HAL-EXE-023")
@group
def test_many_blocks_of_many_ranks(rank: Rank) -> None:
    repeat(rank, litmus.packet_ring(rank.size, 64), from_before, counts=(1, 100), launches=rank.times(20, 5))


@clause("HAL-ORD-004")
def test_sync(rank: Rank) -> None:
    p = PlanBuilder("custom", name="sync", ranks=1, input_chunks=1, output_chunks=1, in_place=False)
    (one,) = p.ranks
    block = one.block()
    block.copy(one.scratch[0], one.input[0])
    for number in range(50):
        block.sync()
        block.move(one.scratch[1 - number % 2], [one.scratch[number % 2], one.input[0]], ReduceOp.BXOR)
    block.sync()
    block.copy(one.output[0], one.scratch[0])
    plan = p.build()
    repeat(rank, plan, own, counts=(1, 3, 17, 64, 1021, 30000), launches=rank.times(20, 5))


@clause("HAL-ORD-008", "HAL-ORD-009")
@group
def test_buffers_before_and_after_a_call(rank: Rank) -> None:
    """Buffers are changed up to the call and at once after it, while other ranks may still be at theirs."""
    plan = programs.collective_plan(Collective.ALL_GATHER, "mapped", rank.size)
    for count in (1, 5000):
        executable = rank.load(plan, count)
        source, target = rank.allocate(count), rank.allocate(count * rank.size)
        for launch in range(rank.times(300, 60)):
            rank.device.fill(source.address, (launch + rank.id) % 256, count)
            rank.start(executable, Memory(source.address, count, rank.device), target)
            rank.device.fill(source.address, 0xDD, count)
            seen = rank.from_device(target, count * rank.size, DType.UINT8)
            rank.device.fill(target.address, 0xCC, count * rank.size)
            wanted = np.repeat([(launch + one) % 256 for one in range(rank.size)], count).astype(np.uint8)
            expect.same_bits(seen, wanted, f"what was gathered in launch {launch}, {count} bytes a rank")
