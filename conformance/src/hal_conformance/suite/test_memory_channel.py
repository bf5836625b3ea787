"""Transfers between ranks whose memory is mapped: put, get, several destinations, several sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hal.channels import MemoryChannel
from hal.interface.device import Memory
from hal.interface.dtypes import DType, ReduceOp
from hal.plan.builder import PlanBuilder
from hal.plan.model import Plan
from hal_conformance import expect
from hal_conformance.data import COUNTS, Array, random_bytes
from hal_conformance.rank import Rank
from hal_conformance.repeating import inputs_of, repeat

clause = pytest.mark.clause
group = pytest.mark.ranks("group", least=2)
pair = pytest.mark.ranks("pair")

GUARD = 256
"""Bytes before and after a buffer that nobody may touch."""


def _exchange(ranks: int, kind: str) -> Plan:
    """Every rank gives its input to the next one, which has it in its output, stored there or loaded."""
    p = PlanBuilder("custom", name=f"exchange_{kind}", ranks=ranks, input_chunks=1, output_chunks=1, in_place=False)
    for rank in p.ranks:
        before, after = p.ranks[rank.id - 1], p.ranks[(rank.id + 1) % ranks]
        block = rank.block()
        block.signal(rank.others)
        block.wait(rank.others)
        if kind == "put":
            block.copy(after.output[0], rank.input[0])
        else:
            block.copy(rank.output[0], before.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
    return p.build()


@clause("HAL-MCH-001", "HAL-MCH-002", "HAL-MCH-003", "HAL-EXE-020")
@group
@pytest.mark.parametrize("kind", ["put", "get"])
def test_exactly_the_range(rank: Rank, kind: str) -> None:
    plan = _exchange(rank.size, kind)
    for count in COUNTS:
        executable = rank.load(plan, count)
        for shift in (0, 1, 3, 8):
            inputs = inputs_of(rank, plan, count)
            around = count + 2 * GUARD
            source, target = rank.allocate(around), rank.allocate(around)
            rank.device.fill(source.address, 0x11, around)
            rank.device.fill(target.address, 0x22, around)
            rank.write(source.address + GUARD + shift, inputs[rank.id])
            before = rank.read(source)
            rank.start(
                executable,
                Memory(source.address + GUARD + shift, count, rank.device),
                Memory(target.address + GUARD + shift, count, rank.device),
            )
            wanted = np.full(around, 0x22, np.uint8)
            wanted[GUARD + shift : GUARD + shift + count] = inputs[rank.id - 1]
            where = f"{count} bytes at {shift} beyond a boundary"
            expect.same_bits(np.frombuffer(rank.read(target), np.uint8), wanted, f"the output and around it, {where}")
            expect.equal(rank.read(source), before, f"the input and around it, {where}")
            rank.device.free(source)
            rank.device.free(target)


@clause("HAL-MCH-003", "HAL-EXE-015")
@pair
@pytest.mark.parametrize("dtype", list(DType), ids=lambda dtype: dtype.label)
def test_every_type_at_every_alignment(rank: Rank, dtype: DType) -> None:
    plan = _exchange(2, "put")
    count = 77
    executable = rank.load(plan, count, dtype)
    for element in range(17):
        data = [random_bytes(rank.random, count * dtype.itemsize) for _ in range(2)]
        room = (count + 20) * dtype.itemsize
        source, target = rank.allocate(room), rank.allocate(room)
        at = element * dtype.itemsize
        rank.write(source.address + at, data[rank.id])
        length = count * dtype.itemsize
        rank.start(
            executable,
            Memory(source.address + at, length, rank.device),
            Memory(target.address + at, length, rank.device),
        )
        seen = np.frombuffer(rank.read(target.address + at, length), np.uint8)
        expect.same_bits(seen, data[1 - rank.id], f"{count} elements of {dtype.label} from element {element} on")


def _to_all(ranks: int) -> Plan:
    """Each rank stores its input to its block of all outputs, with one move."""
    p = PlanBuilder("all_gather", name="to_all", ranks=ranks, in_place=False)
    for rank in p.ranks:
        block = rank.block()
        block.signal(rank.others)
        block.wait(rank.others)
        block.copy([other.output[rank.id] for other in p.ranks], rank.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
    return p.build()


@clause("HAL-MCH-004")
@group
def test_one_move_to_many(rank: Rank) -> None:
    def wanted(inputs: Sequence[Array], number: int) -> Array:
        return np.concatenate(inputs)

    repeat(rank, _to_all(rank.size), wanted, counts=COUNTS, launches=rank.times(10, 2))


def _mixed(ranks: int, targets: bool) -> Plan:
    """Each rank reduces its input and those of others to its own output, and, with `targets`, to its scratch too."""
    p = PlanBuilder("all_reduce", name="mixed", ranks=ranks, in_place=False)
    for rank in p.ranks:
        block = rank.block()
        block.signal(rank.others)
        block.wait(rank.others)
        block.move([rank.output[0], *([rank.scratch[0]] if targets else [])], [r.input[0] for r in p.ranks], final=True)
        block.signal(rank.others)
        block.wait(rank.others)
    return p.build()


@clause("HAL-MCH-005")
@group
@pytest.mark.parametrize("targets", [False, True])
def test_own_and_other_operands(rank: Rank, targets: bool) -> None:
    plan = _mixed(rank.size, targets)
    for count in COUNTS:
        generator = np.random.default_rng(rank.random.getrandbits(64))
        inputs = list(generator.integers(-1000, 1000, (rank.size, count), np.int32))
        (seen,) = rank.run(plan, inputs, ReduceOp.SUM, count=count)
        expect.same_bits(seen, np.asarray(sum(inputs)), f"the sum of {count} elements of all ranks")


def _accumulating(ranks: int) -> Plan:
    """A sum goes round: each rank adds its input to what it finds in its scratch, and gives that to the next."""
    p = PlanBuilder("reduce", name="accumulating", ranks=ranks, root=ranks - 1, in_place=False)
    for rank in p.ranks:
        block = rank.block()
        if rank.id:
            block.wait([p.ranks[rank.id - 1]])
            block.reduce(rank.scratch[0], [rank.scratch[0], rank.input[0]])
        else:
            block.copy(rank.scratch[0], rank.input[0])
        block.sync()
        if rank.id < ranks - 1:
            following = p.ranks[rank.id + 1]
            # in place at the next rank: its scratch is both a source, of its own reduction, and this destination
            block.move(following.scratch[0], [rank.scratch[0], rank.input[0]], ReduceOp.MAX)
            block.signal([following])
        else:
            block.move(rank.output[0], [rank.scratch[0], rank.input[0]], ReduceOp.MAX, final=True)
    return p.build()


@clause("HAL-MCH-006")
@group
def test_a_destination_that_is_a_source(rank: Rank) -> None:
    plan = _accumulating(rank.size)
    for count in COUNTS:
        generator = np.random.default_rng(rank.random.getrandbits(64))
        inputs = list(generator.integers(-1000, 1000, (rank.size, count), np.int64))
        (seen,) = rank.run(plan, inputs, ReduceOp.SUM, count=count)
        if rank.id == rank.size - 1:
            expect.same_bits(seen, _accumulated(inputs), f"{count} elements, accumulated in place")


def _accumulated(inputs: Sequence[Array]) -> Array:
    held = inputs[0]
    for array in inputs[1:]:
        held = np.maximum(held + array, array)
    return held


def _busy(blocks: int) -> Plan:
    """Many blocks of both ranks put and get at the same time, each its own chunk."""
    p = PlanBuilder("custom", name="busy", ranks=2, input_chunks=blocks, output_chunks=2 * blocks, in_place=False)
    for rank in p.ranks:
        (other,) = rank.others
        for number in range(blocks):
            block = rank.block()
            block.signal([other])
            block.wait([other])
            block.copy(other.output[number], rank.input[number])
            block.copy(rank.output[blocks + number], other.input[number])
            block.signal([other])
            block.wait([other])
    return p.build()


@clause("HAL-MCH-008")
@pair
def test_many_blocks_at_once(rank: Rank) -> None:
    def wanted(inputs: Sequence[Array], number: int) -> Array:
        return np.concatenate([inputs[1 - number]] * 2)

    repeat(rank, _busy(16), wanted, counts=(1, 63, 1000), launches=rank.times(40, 10))


@clause("HAL-MCH-007")
@pair
def test_put_and_get_from_python(rank: Rank) -> None:
    channel = MemoryChannel(rank.group, 1 - rank.id)
    for turn in range(rank.times(200, 60)):
        nbytes = rank.random.choice([1, 4, 100, 4096, 5000])
        data = random_bytes(rank.random, nbytes)
        sends, puts = rank.random.randrange(2) == rank.id, rank.random.random() < 0.5
        memory = rank.to_device(data if sends else np.zeros(nbytes, np.uint8))
        rank.delay()
        if sends:
            (channel.put if puts else channel.offer)(memory)
        else:
            (channel.accept if puts else channel.get)(memory)
            what = "put" if puts else "gotten"
            expect.same_bits(np.frombuffer(rank.read(memory), np.uint8), data, f"{nbytes} bytes {what}, turn {turn}")
        rank.device.free(memory)


@clause("HAL-MCH-009")
def test_what_is_mapped(rank: Rank) -> None:
    executor = rank.executor
    memory = rank.allocate(5000)
    for offset, nbytes in ((0, 5000), (0, 1), (4999, 1), (100, 4000)):
        seen = executor.is_mapped(memory.address + offset, nbytes)
        expect.equal(bool(seen), True, f"is_mapped of {nbytes} bytes at {offset} of allocated memory")
    ordinary = np.zeros(5000, np.uint8)
    expect.equal(bool(executor.is_mapped(int(ordinary.ctypes.data), 5000)), False, "is_mapped of ordinary memory")
