"""Stores to and reducing loads from all ranks of a group at once."""

from __future__ import annotations

import numpy as np
import pytest

from hal.channels import SwitchChannel
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import NotSupported
from hal_conformance import data, expect, switches
from hal_conformance.rank import Rank

clause = pytest.mark.clause
group = pytest.mark.ranks("group", least=2)

COUNTS = (0, 1, 3, 16, 63, 64, 1000, 4097)
TYPES = [DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16, DType.INT32]


def _groups(ranks: int, how: str) -> list[switches.Group]:
    everybody = tuple(range(ranks))
    match how:
        case "all":
            return [everybody]
        case "backwards":
            return [everybody[::-1]]
        case "halves":
            parts = [everybody[: ranks // 2], everybody[ranks // 2 :]]
        case _:
            parts = [everybody[::2], everybody[1::2]]
    return [part for part in parts if len(part) > 1]


HOW = pytest.mark.parametrize("how", ["all", "backwards", "halves", "odd-even"])


@clause("HAL-SCH-001", "HAL-SCH-003")
@group
@HOW
def test_a_store_reaches_all_of_the_group(rank: Rank, how: str) -> None:
    groups = _groups(rank.size, how)
    plan = switches.stores(rank.size, groups)
    for count in COUNTS:
        generator = np.random.default_rng(rank.random.getrandbits(64))
        inputs = list(generator.integers(0, 256, (rank.size, 2 * count), np.uint8))
        seen = rank.run(plan, inputs, count=count, launches=2)[1]
        wanted = np.full(2 * count, 0xA1, np.uint8)
        for members in groups:
            if rank.id in members:
                wanted[:count] = inputs[members[0]][count:]
        expect.same_bits(seen, wanted, f"the output of {count} bytes and as many behind it, group {how}")


@clause("HAL-SCH-002", "HAL-SCH-003")
@group
@HOW
@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.label)
def test_a_load_reduces_over_the_group(rank: Rank, how: str, dtype: DType) -> None:
    groups = _groups(rank.size, how)
    ops = [ReduceOp.SUM, ReduceOp.MIN, ReduceOp.MAX]
    for op in ops:
        plan = switches.loads(rank.size, groups, op)
        for count in COUNTS:
            inputs = data.numbers(rank.random, rank.size, 2 * count, dtype, op)
            (seen,) = rank.run(plan, inputs, count=count)
            for members in groups:
                if rank.id in members:
                    wanted = data.reduced([inputs[one][:count] for one in members], dtype, op)
                    expect.same_bits(seen[count:], wanted, f"{op.label} of {count} {dtype.label}, group {how}")
            garbage = np.frombuffer(b"\xa0" * (count * dtype.itemsize), dtype.numpy)
            expect.same_bits(seen[:count], garbage, "the output beside it")


@clause("HAL-SCH-001", "HAL-SCH-002")
@group
def test_all_reduce(rank: Rank) -> None:
    plan = switches.all_reduce(rank.size)
    for count in COUNTS:
        inputs = data.numbers(rank.random, rank.size, count, DType.FLOAT32)
        for seen in rank.run(plan, inputs, count=count, launches=rank.times(20, 5)):
            expect.same_bits(seen, data.reduced(inputs, DType.FLOAT32, ReduceOp.SUM), f"the sum of {count} elements")


@clause("HAL-SCH-004")
@group
def test_from_python(rank: Rank) -> None:
    channel = SwitchChannel(rank.group)
    for root in range(rank.size):
        for count in (1, 100, 5000):
            inputs = data.numbers(rank.random, rank.size, count, DType.FLOAT32)
            source, target = rank.to_device(inputs[rank.id]), rank.to_device(np.zeros(count, np.float32))
            channel.store(source, target, root=root)
            seen = rank.from_device(target, count, DType.FLOAT32)
            expect.same_bits(seen, inputs[root], f"what rank {root} has stored to all")
            rank.exchange()
            channel.load_reduce(source, target, DType.FLOAT32, ReduceOp.SUM, root=root)
            if rank.id == root:
                seen = rank.from_device(target, count, DType.FLOAT32)
                expect.same_bits(seen, data.reduced(inputs, DType.FLOAT32, ReduceOp.SUM), "what the root has loaded")


@clause("HAL-SCH-005")
@group
@pytest.mark.lacks("switch")
def test_a_switch_that_is_not_declared(rank: Rank) -> None:
    plan = switches.stores(rank.size, [tuple(range(rank.size))])
    expect.raises(NotSupported, lambda: rank.load(plan, 10), "loading a plan with a switch channel")
    rank.exchange()
