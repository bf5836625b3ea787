"""Element types and reduction operations: names, codes and arithmetic rules shared by every executor.

The integer codes are part of the interface: native executors and device code receive them.
"""

from __future__ import annotations

import enum
from typing import Any

import ml_dtypes
import numpy as np

from hal.interface.errors import UsageError, unknown_name


class DType(enum.IntEnum):
    """An element type. The value is its code in native and device code."""

    INT8 = 0
    UINT8 = 1
    INT16 = 2
    UINT16 = 3
    INT32 = 4
    UINT32 = 5
    INT64 = 6
    UINT64 = 7
    FLOAT16 = 8
    BFLOAT16 = 9
    FLOAT32 = 10
    FLOAT64 = 11
    FLOAT8_E4M3 = 12
    FLOAT8_E5M2 = 13

    @property
    def label(self) -> str:
        """The lower-case name used in files and on the command line: `float32`, `float8_e4m3`."""
        return self.name.lower()

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype of the same layout (from ml_dtypes where NumPy has none)."""
        return _NUMPY[self]

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return self.numpy.itemsize

    @property
    def is_float(self) -> bool:
        """Whether elements are floating-point numbers, of any width."""
        return self >= DType.FLOAT16

    @property
    def accumulator(self) -> DType:
        """The type in which one `move` accumulates: float32 for narrower floats, else the type itself.

        The result is rounded once, to nearest even, when it is stored.
        """
        narrow = (DType.FLOAT16, DType.BFLOAT16, DType.FLOAT8_E4M3, DType.FLOAT8_E5M2)
        return DType.FLOAT32 if self in narrow else self

    @classmethod
    def of(cls, dtype: Any) -> DType:
        """The `DType` for a name, a NumPy dtype or scalar type, or a `DType`; `UsageError` where there is none."""
        if isinstance(dtype, cls):
            return dtype
        if isinstance(dtype, str):
            found = _BY_NAME.get(dtype.lower())
            if found is not None:
                return found
        try:
            found = _BY_NUMPY.get(np.dtype(dtype))
        except TypeError:
            found = None
        if found is None:
            raise UsageError(unknown_name("dtype", dtype, [d.label for d in cls]))
        return found


_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    DType.FLOAT8_E4M3: np.dtype(ml_dtypes.float8_e4m3fn),
    DType.FLOAT8_E5M2: np.dtype(ml_dtypes.float8_e5m2),
}
_NUMPY.update({d: np.dtype(d.label) for d in DType if d not in _NUMPY})
_BY_NUMPY = {n: d for d, n in _NUMPY.items()}
# nccl-tests' short names are what people type on a command line
_BY_NAME = {d.label: d for d in DType} | {
    "float8_e4m3fn": DType.FLOAT8_E4M3,
    "fp8_e4m3": DType.FLOAT8_E4M3,
    "fp8_e5m2": DType.FLOAT8_E5M2,
    "half": DType.FLOAT16,
    "float": DType.FLOAT32,
    "double": DType.FLOAT64,
    "fp16": DType.FLOAT16,
    "bf16": DType.BFLOAT16,
    "fp32": DType.FLOAT32,
    "fp64": DType.FLOAT64,
}


class ReduceOp(enum.IntEnum):
    """A reduction operation. The value is its code in native and device code.

    Integers wrap around. `min` and `max` return NaN where any operand is NaN, and else the operand that compares
    lower (higher); where operands compare equal the later one is taken. `avg` is the sum divided by the number of
    ranks: for floats in the accumulator's type before rounding, for integers truncated towards zero. The bitwise
    operations are defined on integers alone.
    """

    SUM = 0
    PROD = 1
    MIN = 2
    MAX = 3
    AVG = 4
    BAND = 5
    BOR = 6
    BXOR = 7

    @property
    def label(self) -> str:
        """The lower-case name: `sum`, `band`."""
        return self.name.lower()

    @property
    def is_bitwise(self) -> bool:
        """Whether the operation is defined on integers alone."""
        return self >= ReduceOp.BAND

    @classmethod
    def of(cls, op: Any) -> ReduceOp:
        """The `ReduceOp` for a name or a `ReduceOp`; `UsageError` where there is none."""
        if isinstance(op, cls):
            return op
        found = _OPS.get(op.lower()) if isinstance(op, str) else None
        if found is None:
            raise UsageError(unknown_name("reduction", op, [o.label for o in cls]))
        return found

    def check(self, dtype: DType) -> None:
        """Raise `UsageError` where this operation is not defined on `dtype`."""
        if self.is_bitwise and dtype.is_float:
            raise UsageError(
                f"reduction {self.label!r} is defined on integers, not on {dtype.label}: "
                "allowed for floats are sum, prod, min, max, avg"
            )


_OPS = {o.label: o for o in ReduceOp}
