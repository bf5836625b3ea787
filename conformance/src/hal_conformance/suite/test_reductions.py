"""Arithmetic: exactly known results in every type, and the corners of floating point and of integers."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hal import reference
from hal.interface.dtypes import DType, ReduceOp
from hal.plan.builder import PlanBuilder
from hal.plan.model import Plan
from hal_conformance import data, expect
from hal_conformance.data import Array
from hal_conformance.rank import Rank

clause = pytest.mark.clause
group = pytest.mark.ranks("group", least=2)

FLOATS = [dtype for dtype in DType if dtype.is_float]
INTEGERS = [dtype for dtype in DType if not dtype.is_float]
NARROW = [dtype for dtype in FLOATS if dtype.accumulator is not dtype]

each_type = pytest.mark.parametrize("dtype", list(DType), ids=lambda dtype: dtype.label)
each_float = pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.label)
each_integer = pytest.mark.parametrize("dtype", INTEGERS, ids=lambda dtype: dtype.label)

CLAUSES = {
    ReduceOp.SUM: "HAL-RED-001",
    ReduceOp.PROD: "HAL-RED-002",
    ReduceOp.MIN: "HAL-RED-003",
    ReduceOp.MAX: "HAL-RED-004",
    ReduceOp.BAND: "HAL-RED-006",
    ReduceOp.BOR: "HAL-RED-006",
    ReduceOp.BXOR: "HAL-RED-006",
}


def _info(dtype: DType) -> Any:
    """What NumPy's `finfo` says, of every float type."""
    return ml_dtypes.finfo(dtype.numpy)  # type: ignore[no-untyped-call]  # it has no types


@functools.cache
def reducing(operands: int, op: ReduceOp | None = None) -> Plan:
    """One rank reduces the blocks of its input, from the first to the last, to its output."""
    name = f"reducing_{operands}_{'call' if op is None else op.label}"
    p = PlanBuilder("custom", name=name, ranks=1, input_chunks=operands, output_chunks=1, in_place=False)
    (rank,) = p.ranks
    rank.block().move(rank.output[0], [rank.input[i] for i in range(operands)], op)
    return p.build()


def reduce(rank: Rank, operands: Sequence[Array], op: ReduceOp) -> Array:
    """The reduction of the operands, by the executor."""
    count = operands[0].size
    (seen,) = rank.run(reducing(len(operands)), [np.concatenate(operands)], op, count=count)
    return seen


EXACT = [
    pytest.param(op, dtype, marks=clause(CLAUSES[op]), id=f"{op.label}-{dtype.label}")
    for op in CLAUSES
    for dtype in DType
    if op in data.OPS[dtype]
]


@pytest.mark.parametrize(("op", "dtype"), EXACT)
def test_exact_results(rank: Rank, op: ReduceOp, dtype: DType) -> None:
    for operands in (2, 3, 5, 8):
        for count in (1, 3, 8, 17, 64, 100, 1025):
            inputs = data.numbers(rank.random, operands, count, dtype, op)
            wanted = data.reduced(inputs, dtype, op)
            expect.same_bits(reduce(rank, inputs, op), wanted, f"{op.label} of {operands} times {count} {dtype.label}")


@clause("HAL-RED-005")
@group
@each_type
def test_averages(rank: Rank, dtype: DType) -> None:
    p = PlanBuilder("all_reduce", name="average", ranks=rank.size)
    for one in p.ranks:
        block = one.block()
        block.copy(one.scratch[0], one.input[0])
        block.signal(one.others)
        block.wait(one.others)
        block.reduce(one.output[0], [r.scratch[0] for r in p.ranks], final=True)
    plan = p.build()
    for count in (1, 17, 1000):
        inputs = data.numbers(rank.random, rank.size, count, dtype)
        (seen,) = rank.run(plan, inputs, ReduceOp.AVG, count=count)
        expect.same_bits(seen, data.averaged(inputs, dtype), f"the average of {count} {dtype.label}")


@clause("HAL-RED-007")
@each_integer
def test_integers_wrap(rank: Rank, dtype: DType) -> None:
    info = np.iinfo(dtype.numpy)
    corners = [int(info.max), int(info.min), 1, int(info.max) - 1, int(info.max) // 2 + 1]
    pairs = np.array(list(itertools.product(corners, corners)), dtype.numpy)
    for op in (ReduceOp.SUM, ReduceOp.PROD):
        inputs = [np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])]
        expect.same_bits(reduce(rank, inputs, op), data.reduced(inputs, dtype, op), f"{op.label} of {dtype.label}")


def _corners(dtype: DType) -> Array:
    """Numbers at the corners of a float type, of both signs: zeros, denormals, normals, infinities, NaN."""
    info = _info(dtype)
    tiny, least = float(info.smallest_normal), float(info.smallest_subnormal)
    largest = float(info.max)
    positive = [0.0, least, 3 * least, tiny - least, tiny, 2 * tiny, 0.5, 1.0, 1.5, largest / 2, largest]
    with np.errstate(all="ignore"):
        values = np.array([*positive, *(-x for x in positive)], np.float64).astype(dtype.numpy)
        special = np.array([np.inf, -np.inf, np.nan], np.float64).astype(dtype.numpy)
    if dtype is DType.FLOAT8_E4M3:  # it has no infinities
        special = special[2:]
    return np.concatenate([values, special])


def _every_pair(dtype: DType) -> list[Array]:
    corners = _corners(dtype)
    return [np.repeat(corners, corners.size), np.tile(corners, corners.size)]


@clause("HAL-RED-008", "HAL-RED-009", "HAL-RED-010", "HAL-RED-011", "HAL-RED-015")
@each_float
@pytest.mark.parametrize("op", [ReduceOp.SUM, ReduceOp.PROD, ReduceOp.MIN, ReduceOp.MAX], ids=lambda op: op.label)
def test_every_pair_of_corners(rank: Rank, op: ReduceOp, dtype: DType) -> None:
    inputs = _every_pair(dtype)
    steps: dict[ReduceOp, Callable[[Array, Array], Array]] = {
        ReduceOp.SUM: np.add,
        ReduceOp.PROD: np.multiply,
        ReduceOp.MIN: _lower,
        ReduceOp.MAX: _higher,
    }
    with np.errstate(all="ignore"):
        wide = [array.astype(dtype.accumulator.numpy) for array in inputs]
        wanted = steps[op](*wide).astype(dtype.numpy)
    seen = reduce(rank, inputs, op)
    for number, (a, b) in enumerate(zip(*inputs, strict=True)):
        where = f"{op.label} of {a!s} and {b!s} as {dtype.label}"
        expect.same_numbers(seen[number : number + 1], wanted[number : number + 1], where)


def _lower(a: Array, b: Array) -> Array:
    return np.where(np.isnan(a), a, np.where(a < b, a, b))


def _higher(a: Array, b: Array) -> Array:
    return np.where(np.isnan(a), a, np.where(a > b, a, b))


@clause("HAL-RED-008")
@each_float
def test_nan_anywhere(rank: Rank, dtype: DType) -> None:
    for operands in (2, 3, 8):
        for op in (ReduceOp.SUM, ReduceOp.PROD, ReduceOp.MIN, ReduceOp.MAX):
            # element i has its NaN in operand i % operands, so that every place is tried in every lane
            count = operands * 16 + 3
            inputs = [array.copy() for array in data.numbers(rank.random, operands, count, dtype, op)]
            for at in range(count):
                inputs[at % operands][at] = dtype.numpy.type(np.nan)
            seen = reduce(rank, inputs, op).astype(np.float64)
            wrong = np.flatnonzero(~np.isnan(seen)).tolist()
            expect.equal(wrong, [], f"elements that are no NaN after {op.label} of {operands} {dtype.label}")


@clause("HAL-RED-011")
@each_float
def test_signs_of_zero(rank: Rank, dtype: DType) -> None:
    zeros = np.array([0.0, -0.0], dtype.numpy)
    for first, second in itertools.product(range(2), range(2)):
        a, b = np.full(19, zeros[first]), np.full(19, zeros[second])
        for op in (ReduceOp.MIN, ReduceOp.MAX):
            expect.same_bits(reduce(rank, [a, b], op), b, f"{op.label} of {a[0]!s} and {b[0]!s} as {dtype.label}")
        negative = first and second
        wanted = np.full(19, zeros[int(negative)])
        expect.same_bits(reduce(rank, [a, b], ReduceOp.SUM), wanted, f"the sum of {a[0]!s} and {b[0]!s}")


@clause("HAL-RED-010")
@each_float
def test_denormals(rank: Rank, dtype: DType) -> None:
    least = _info(dtype).smallest_subnormal
    one = np.full(33, least, dtype.numpy)
    two = (one.astype(np.float64) + one.astype(np.float64)).astype(dtype.numpy)
    expect.same_bits(reduce(rank, [one, one], ReduceOp.SUM), two, f"twice the least {dtype.label}")
    expect.same_bits(reduce(rank, [one, np.zeros_like(one)], ReduceOp.MAX), one, "the larger of it and zero")
    half = np.full(33, 0.5, dtype.numpy)
    expect.same_bits(reduce(rank, [two, half], ReduceOp.PROD), one, f"half of twice the least {dtype.label}")


@clause("HAL-RED-012")
@pytest.mark.parametrize("dtype", NARROW, ids=lambda dtype: dtype.label)
def test_narrow_floats_are_rounded_once(rank: Rank, dtype: DType) -> None:
    """Numbers that would get lost one by one, if each step were rounded to the narrow type."""
    half_step = float(_info(dtype).eps) / 2
    # small numbers are exact in the type, and each is half a step at 1.0 or less: together they count
    rows = [
        [1.0, half_step, half_step],
        [1.0, half_step, half_step, half_step],
        [1.0, half_step, half_step / 2],
        [1.0, half_step],  # a tie: to even
        [1.0 + 2 * half_step, half_step],  # a tie, the other way
        [1.0, -half_step / 2, -half_step / 4],
    ]
    for row in rows:
        inputs = [np.full(37, value, dtype.numpy) for value in row]
        expect.equal([float(array[0]) for array in inputs], row, f"operands as {dtype.label}")
        wanted = np.full(37, np.sum(np.array(row, np.float32), dtype=np.float32)).astype(dtype.numpy)
        expect.same_bits(reduce(rank, inputs, ReduceOp.SUM), wanted, f"the sum of {row} as {dtype.label}")


@clause("HAL-RED-013")
@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.FLOAT64], ids=lambda dtype: dtype.label)
def test_from_the_first_to_the_last(rank: Rank, dtype: DType) -> None:
    large = float(2 ** (24 if dtype is DType.FLOAT32 else 53))
    for row in itertools.permutations([large, 1.0, -large, 1.0, 3.0]):
        inputs = [np.full(5, value, dtype.numpy) for value in row]
        total = inputs[0]
        for array in inputs[1:]:
            total = total + array
        expect.same_bits(reduce(rank, inputs, ReduceOp.SUM), total, f"the sum of {row} in this order")


@clause("HAL-RED-014")
@each_type
def test_a_copy_keeps_all_bits(rank: Rank, dtype: DType) -> None:
    """All bytes, so that NaN of every kind, signalling ones too, are among them."""
    raw = data.random_bytes(rank.random, 65536 * min(dtype.itemsize, 2))
    if dtype.itemsize <= 2:
        raw = np.arange(256**dtype.itemsize, dtype=f"uint{8 * dtype.itemsize}").view(np.uint8)
    inputs = raw.view(dtype.numpy)
    (seen,) = rank.run(reducing(1), [inputs], count=inputs.size)
    expect.same_bits(seen, inputs, f"a copy of {inputs.size} {dtype.label} of all bits")


@clause("HAL-RED-015")
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.label)
def test_results_out_of_range(rank: Rank, dtype: DType) -> None:
    largest = _info(dtype).max
    for sign in (1, -1):
        inputs = [np.full(21, sign * largest, dtype.numpy)] * 2
        with np.errstate(all="ignore"):
            wide = [array.astype(dtype.accumulator.numpy) for array in inputs]
            wanted = (wide[0] + wide[1]).astype(dtype.numpy)
        seen = reduce(rank, inputs, ReduceOp.SUM)
        expect.same_numbers(seen, wanted, f"twice the largest {dtype.label}, sign {sign}")


@clause("HAL-RED-016")
@each_integer
def test_a_move_names_its_operation(rank: Rank, dtype: DType) -> None:
    inputs = data.numbers(rank.random, 3, 100, dtype)
    for op in (ReduceOp.MAX, ReduceOp.BXOR, ReduceOp.PROD):
        (seen,) = rank.run(reducing(3, op), [np.concatenate(inputs)], ReduceOp.SUM, count=100)
        expect.same_bits(seen, data.reduced(inputs, dtype, op), f"{op.label}, named by the move of a call of sum")


@clause("HAL-RED-017")
@pytest.mark.parametrize("operands", [32, 33, 100])
def test_many_operands(rank: Rank, operands: int) -> None:
    for dtype in (DType.INT8, DType.FLOAT16, DType.FLOAT32, DType.INT64):
        inputs = data.numbers(rank.random, operands, 300, dtype)
        plan = reducing(operands)
        (seen,) = rank.run(plan, [np.concatenate(inputs)], ReduceOp.SUM, count=300)
        wanted = reference.run(plan, [np.concatenate(inputs)], op=ReduceOp.SUM, count=300).outputs[0]
        expect.same_bits(seen, wanted, f"the sum of {operands} times 300 {dtype.label}")
