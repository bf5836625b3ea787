"""Data whose results are known exactly in every type, and no two ranks' or elements' of which are copies of others."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal.interface.dtypes import DType, ReduceOp
from hal.plan.collective import Collective

Array = NDArray[Any]

COUNTS = (0, 1, 2, 3, 4, 7, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 257, 1000, 1023, 1025, 4095, 4097)
"""Counts around the boundaries of vectors, lines and pages."""

OPS = {dtype: [op for op in ReduceOp if not (op.is_bitwise and dtype.is_float)] for dtype in DType}
"""The operations that are defined on each type."""


def random_bytes(chance: random.Random, nbytes: int) -> Array:
    """Bytes without a pattern."""
    return np.frombuffer(chance.randbytes(nbytes), np.uint8).copy()


def numbers(chance: random.Random, ranks: int, count: int, dtype: DType, op: ReduceOp = ReduceOp.SUM) -> list[Array]:
    """Whole numbers for each rank whose reduction is exact in `dtype`, or wraps around where it is an integer."""
    generator = np.random.default_rng(chance.getrandbits(64))
    shape = (ranks, count)
    if not dtype.is_float:
        info = np.iinfo(dtype.numpy)
        low, high = int(info.min), int(info.max)
        whole = generator.integers(low, high, shape, dtype.numpy, endpoint=True)
    elif op is ReduceOp.PROD:
        # powers of two: the product of many of them is exact as long as it is in range
        powers = generator.choice(np.array([1.0, -1.0, 2.0, 0.5]), shape)
        whole = powers.astype(dtype.numpy)
    else:
        most = 1 if dtype.itemsize == 1 else 100
        whole = generator.integers(-most, most, shape, endpoint=True).astype(dtype.numpy)
    return list(whole)


def reduced(inputs: Sequence[Array], dtype: DType, op: ReduceOp) -> Array:
    """The reduction of what `numbers` gives, in numbers so wide that every step is exact, or wraps as it must."""
    if op in (ReduceOp.MIN, ReduceOp.MAX):
        step = np.minimum if op is ReduceOp.MIN else np.maximum
        wide: Array = functools.reduce(step, [array.astype(_wide(dtype)) for array in inputs])
        return wide.astype(dtype.numpy)
    if dtype.is_float:
        # whole numbers, or powers of two: exact in 64 bits, and rounded once on the way to the type
        total = functools.reduce(_STEPS[op], [array.astype(np.float64) for array in inputs])
        return np.asarray(total.astype(np.float32) if dtype.itemsize < 4 else total).astype(dtype.numpy)
    # modulo 2^64, of which the lower bits are those modulo any smaller power of two
    total = functools.reduce(_STEPS[op], [array.astype(np.int64).view(np.uint64) for array in inputs])
    return np.asarray(total).astype(f"uint{8 * dtype.itemsize}").view(dtype.numpy)


def _wide(dtype: DType) -> Any:
    """A type that holds every number of `dtype`, for comparisons."""
    return np.float64 if dtype.is_float else np.uint64 if dtype is DType.UINT64 else np.int64


def averaged(inputs: Sequence[Array], dtype: DType) -> Array:
    """The average of what `numbers` gives: the wrapped sum, divided; of integers truncated towards zero."""
    total = reduced(inputs, dtype, ReduceOp.SUM)
    ranks = len(inputs)
    if dtype is DType.FLOAT64:
        return np.asarray(total / ranks)
    if dtype.is_float:
        # of whole numbers, so that the sum in 32 bits is the exact one
        exact = np.sum([array.astype(np.float32) for array in inputs], axis=0, dtype=np.float32)
        return np.asarray((exact / np.float32(ranks)).astype(dtype.numpy))
    whole = [int(abs(int(one)) // ranks) * (1 if one >= 0 else -1) for one in total.tolist()]
    return np.array(whole, dtype.numpy)


def expected(collective: Collective, inputs: Sequence[Array], dtype: DType, op: ReduceOp, root: int) -> list[Array]:
    """What each rank's output holds after a collective of equal counts; empty for a rank that has none."""
    ranks = len(inputs)
    none = np.empty(0, dtype.numpy)
    at_root = [rank == root for rank in range(ranks)]
    match collective:
        case Collective.ALL_REDUCE:
            return [reduced(inputs, dtype, op)] * ranks
        case Collective.REDUCE:
            return [reduced(inputs, dtype, op) if here else none for here in at_root]
        case Collective.REDUCE_SCATTER:
            return np.split(reduced(inputs, dtype, op), ranks)
        case Collective.ALL_GATHER:
            return [np.concatenate(inputs)] * ranks
        case Collective.GATHER:
            return [np.concatenate(inputs) if here else none for here in at_root]
        case Collective.BROADCAST:
            return [inputs[root]] * ranks
        case Collective.SCATTER:
            return np.split(inputs[root], ranks)
        case Collective.ALL_TO_ALL:
            blocks = [np.split(array, ranks) for array in inputs]
            return [np.concatenate([blocks[source][rank] for source in range(ranks)]) for rank in range(ranks)]
        case Collective.SEND_RECV:
            return [none, inputs[0]]
        case _:
            return [none] * ranks


_STEPS: dict[ReduceOp, Callable[[Array, Array], Array]] = {
    ReduceOp.SUM: np.add,
    ReduceOp.PROD: np.multiply,
    ReduceOp.BAND: np.bitwise_and,
    ReduceOp.BOR: np.bitwise_or,
    ReduceOp.BXOR: np.bitwise_xor,
}
