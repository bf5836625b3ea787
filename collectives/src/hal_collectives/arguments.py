"""The arguments of a call, checked: buffers of the right kind and size, ranks that exist."""

from __future__ import annotations

from typing import Any

import numpy as np

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError
from hal_collectives.buffers import OVERLAP, Arrays, Buffer, overlap

MAX_TIMEOUT = 1e9
"""Seconds; 30 years in nanoseconds still fit in 64 bits."""


class Arguments:
    """What one rank of a group may pass to a call. Every `UsageError` names the rank and the operation."""

    def __init__(self, rank: int, size: int, arrays: Arrays, *, settle: bool = True) -> None:
        self.rank = rank
        self.size = size
        self.arrays = arrays
        self._settle = settle

    def error(self, operation: str, text: str) -> UsageError:
        """The error for an argument of `operation`."""
        return UsageError(text, rank=self.rank, operation=operation)

    def buffer(self, operation: str, x: Any, what: str, *, writable: bool = False) -> Buffer:
        """`x` as a buffer; `what` is what the error calls it."""
        try:
            return self.arrays.buffer(x, what, writable=writable, settle=self._settle)
        except UsageError as error:
            raise self.error(operation, error.message) from None

    def in_out(self, operation: str, x: Any, out: Any) -> tuple[Buffer, Buffer]:
        """Input and output of the same size, the input itself where `out` is None."""
        if out is None or out is x:
            both = self.buffer(operation, x, "x", writable=True)
            return both, both
        src = self.buffer(operation, x, "x")
        dst = self.output(operation, out, src.dtype, src.count, src.shape)
        self.overlap(operation, src, dst, dst.address)
        return src, dst

    def output(self, operation: str, out: Any, dtype: DType, count: int, shape: tuple[int, ...]) -> Buffer:
        """The output of `count` elements of x's type, made now where it is not given."""
        if out is None:
            return self.arrays.buffer(self.arrays.new(shape, dtype), "out", writable=True, settle=False)
        dst = self.buffer(operation, out, "out", writable=True)
        if dst.dtype is not dtype:
            text = f"out has dtype {dst.dtype.label}, x has {dtype.label}: they must be the same"
            raise self.error(operation, text)
        if dst.count != count:
            text = f"out has {dst.count} elements: {count} are needed for this x on {self.size} ranks"
            raise self.error(operation, text)
        return dst

    def per_rank(self, operation: str, src: Buffer) -> int:
        """The elements of one of `size` equal blocks."""
        if src.count % self.size:
            text = f"x has {src.count} elements, which are not {self.size} equal blocks: one a rank is needed"
            raise self.error(operation, text)
        return src.count // self.size

    def block_shape(self, src: Buffer, count: int) -> tuple[int, ...]:
        """The shape of one block: the first dimension is what is cut, where it can be."""
        shape: tuple[int, ...] = src.shape
        if shape and shape[0] == self.size:
            return shape[1:]
        if shape and shape[0] % self.size == 0:
            return (shape[0] // self.size, *shape[1:])
        return (count,)

    def overlap(self, operation: str, part: Buffer, whole: Buffer, allowed: int | None) -> None:
        """Refuse buffers that share memory, unless `part` begins at the address `allowed`."""
        if part.address != allowed and overlap(part, whole):
            raise self.error(operation, f"x and out {OVERLAP}")

    def root(self, operation: str, root: Any) -> None:
        """Refuse a root that does not exist."""
        self._rank(operation, "root", root)

    def peer(self, operation: str, what: str, peer: Any) -> None:
        """Refuse a peer that does not exist, or is this rank."""
        self._rank(operation, what, peer)
        if peer == self.rank:
            raise self.error(operation, f"{what} is this rank itself")

    def reduction(self, operation: str, op: Any, dtype: DType) -> ReduceOp:
        """The reduction of that name, where it is defined on `dtype`."""
        try:
            found = ReduceOp.of(op)
            found.check(dtype)
        except UsageError as error:
            raise self.error(operation, error.message) from None
        return found

    def seconds(self, operation: str, timeout: Any) -> float:
        """A timeout as a number above 0."""
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= MAX_TIMEOUT:
            raise self.error(operation, f"timeout is {timeout!r}: seconds above 0 are allowed, up to {MAX_TIMEOUT:.0e}")
        return timeout

    def _rank(self, operation: str, what: str, rank: Any) -> None:
        if isinstance(rank, bool) or not isinstance(rank, (int, np.integer)) or not 0 <= rank < self.size:
            raise self.error(operation, f"{what} is {rank!r}: ranks are 0 to {self.size - 1}")
