"""The arithmetic of a move: accumulate from left to right in the accumulator's type, divide, round once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal.interface.dtypes import DType, ReduceOp

Array = NDArray[Any]


def combine(sources: Sequence[Array], dtype: DType, op: ReduceOp, divisor: int) -> Array:
    """The reduction of equally long arrays of `dtype` by `op`, divided by `divisor`, as a new array of `dtype`.

    One source that is not divided is copied bit for bit. A NaN that was computed is the positive quiet one.
    """
    if len(sources) == 1 and divisor == 1:
        return sources[0].copy()
    step = _STEPS[op]
    with np.errstate(all="ignore"):
        total = sources[0].astype(dtype.accumulator.numpy)
        for source in sources[1:]:
            total = step(total, source.astype(dtype.accumulator.numpy))
        if divisor != 1:
            total = _divided(total, divisor)
        result = total.astype(dtype.numpy)
        if dtype.is_float:
            result[np.isnan(result)] = dtype.numpy.type(np.nan)
    return result


def _lower(a: Array, b: Array) -> Array:
    # where they compare equal the later is taken, and NaN where either is
    return np.where(np.isnan(a), a, np.where(a < b, a, b))


def _higher(a: Array, b: Array) -> Array:
    return np.where(np.isnan(a), a, np.where(a > b, a, b))


_STEPS: dict[ReduceOp, Callable[[Array, Array], Array]] = {
    ReduceOp.SUM: np.add,
    ReduceOp.PROD: np.multiply,
    ReduceOp.MIN: _lower,
    ReduceOp.MAX: _higher,
    ReduceOp.AVG: np.add,
    ReduceOp.BAND: np.bitwise_and,
    ReduceOp.BOR: np.bitwise_or,
    ReduceOp.BXOR: np.bitwise_xor,
}


def _divided(total: Array, divisor: int) -> Array:
    if total.dtype.kind == "f":
        divided: Array = total / total.dtype.type(divisor)
        return divided
    # 64 bits hold every divisor, which a narrow integer may not
    wide = total.astype(np.uint64 if total.dtype.kind == "u" else np.int64)
    number = wide.dtype.type(divisor)
    quotient: Array = (wide - np.fmod(wide, number)) // number
    return quotient
