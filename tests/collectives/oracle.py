"""What every collective must give, by NumPy alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal.interface.dtypes import DType, ReduceOp

from .cases import Case

Array = NDArray[Any]

POOL = 80_000


def random_values(dtype: DType, count: int, seed: int, *, special: bool) -> Array:
    """Integers over the whole range; floats around 1, with NaN, infinities, zeros and extremes among them if `special`.

    Without `special` floats are of magnitude 3/4 to 5/4, so that neither sums nor products of 16 of them overflow any
    type.
    """
    chance = np.random.default_rng(seed)
    if not dtype.is_float:
        return np.frombuffer(chance.bytes(count * dtype.itemsize), dtype.numpy).copy()
    if not special:
        return (chance.uniform(0.75, 1.25, count) * chance.choice([-1, 1], count)).astype(dtype.numpy)
    values = (chance.standard_normal(count) * np.exp2(chance.integers(-6, 6, count))).astype(dtype.numpy)
    bits = np.frombuffer(chance.bytes(count * dtype.itemsize), dtype.numpy)
    with np.errstate(all="ignore"):
        rare = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-5, -1e38], np.float64).astype(dtype.numpy)
    which = chance.random(count)
    values = np.where(which < 0.05, bits, values)
    result: Array = np.where(which > 0.97, rare[chance.integers(0, len(rare), count)], values)
    return result


@functools.lru_cache(maxsize=256)
def pool(dtype: DType, rank: int, special: bool) -> Array:
    """The values that a rank's inputs are cut from."""
    values = random_values(dtype, POOL, 1000 * rank + dtype, special=special)
    values.flags.writeable = False
    return values


def reduced(parts: Sequence[Array], dtype: DType, op: ReduceOp, ranks: int) -> Array:
    """The reduction in the order of the ranks: accumulated in the accumulator's type, rounded once at the end."""
    wide = [part.astype(dtype.accumulator.numpy) for part in parts]
    with np.errstate(all="ignore"):
        total = functools.reduce(STEPS[op], wide)
        if op is ReduceOp.AVG and ranks > 1:
            number = total.dtype.type(ranks)
            if dtype.is_float:
                total = total / number
            else:
                down = total // number
                total = np.where((total < 0) & (down * number != total), down + total.dtype.type(1), down)
        result: Array = total.astype(dtype.numpy)
    return result


def _later_if_equal(better: Any) -> Any:
    def step(a: Array, b: Array) -> Array:
        if a.dtype.kind != "f":
            return np.where(better(a, b), a, b)
        return np.where(np.isnan(a) | np.isnan(b), a.dtype.type(np.nan), np.where(better(a, b), a, b))

    return step


STEPS = {
    ReduceOp.SUM: np.add,
    ReduceOp.AVG: np.add,
    ReduceOp.PROD: np.multiply,
    ReduceOp.MIN: _later_if_equal(np.less),
    ReduceOp.MAX: _later_if_equal(np.greater),
    ReduceOp.BAND: np.bitwise_and,
    ReduceOp.BOR: np.bitwise_or,
    ReduceOp.BXOR: np.bitwise_xor,
}


class Job:
    """The inputs of all ranks in one case, and what each rank must get. `counts[r][k]`: what r has for or from k."""

    def __init__(self, case: Case, size: int, seed: int, *, special: bool = True) -> None:
        self.case, self.size = case, size
        block, ranks = case.block(size), range(size)
        chance = np.random.default_rng(seed)
        self.root = case.root(size)
        if case.collective.endswith("_v"):
            self.counts = [[int(n) for n in chance.integers(0, block, size, endpoint=True)] for _ in ranks]
            self.counts[int(chance.integers(size))][int(chance.integers(size))] = 0
        else:
            self.counts = [[block] * size for _ in ranks]
        self.start = int(chance.integers(0, 1000))
        self.special = special
        one = case.count
        match case.collective.removesuffix("_v"):
            case "all_reduce" | "reduce" | "send_recv" | "broadcast":
                lengths = [one] * size
            case "all_gather" | "gather":
                lengths = self.counts[0]
            case "reduce_scatter" | "scatter":
                lengths = [sum(self.counts[0])] * size
            case _:
                lengths = [sum(row) for row in self.counts]
        self.inputs = [pool(case.dtype, r, special)[self.start : self.start + n] for r, n in enumerate(lengths)]

    def block(self, array: Array, counts: Sequence[int], number: int) -> Array:
        """One of the blocks, of these lengths, that make up an array."""
        first = sum(counts[:number])
        return array[first : first + counts[number]]

    def expected(self, rank: int) -> Array | None:
        """What `rank` gets; None where it gets nothing."""
        case, row, inputs = self.case, self.counts[0], self.inputs
        at_root = rank == self.root
        match case.collective.removesuffix("_v"):
            case "all_reduce":
                return self._total(None)
            case "reduce":
                return self._total(None) if at_root else None
            case "reduce_scatter":
                return self._total(rank)
            case "broadcast":
                return inputs[self.root]
            case "all_gather":
                return np.concatenate(inputs)
            case "gather":
                return np.concatenate(inputs) if at_root else None
            case "scatter":
                return self.block(inputs[self.root], row, rank)
            case "send_recv":
                return inputs[(rank - 1) % self.size]
            case _:
                return np.concatenate([self.block(x, self.counts[r], rank) for r, x in enumerate(inputs)])

    @functools.cache  # noqa: B019 -- a job lives for one call
    def _total(self, block: int | None) -> Array:
        whole = self.inputs if block is None else [self.block(x, self.counts[0], block) for x in self.inputs]
        return reduced(whole, self.case.dtype, self.case.op, self.size)


def difference(got: Array, wanted: Array, dtype: DType) -> str | None:
    """Where two arrays differ in their bits, NaN being equal to NaN; None where they do not."""
    if got.dtype != wanted.dtype or got.size != wanted.size:
        return f"got {got.size} of {got.dtype}, expected {wanted.size} of {wanted.dtype}"
    bits = np.dtype(f"u{dtype.itemsize}")
    got, wanted = got.ravel(), wanted.ravel()
    wrong = got.view(bits) != wanted.view(bits)
    if dtype.is_float and wrong.any():
        with np.errstate(invalid="ignore"):
            wrong &= ~(np.isnan(got) & np.isnan(wanted))
    if not wrong.any():
        return None
    at = int(np.argmax(wrong))
    return f"{int(wrong.sum())} of {got.size} elements differ, first [{at}]: got {got[at]!r}, expected {wanted[at]!r}"
