"""Arrays as a collective sees them: an address, a count and a type; and what is wrong with those it cannot take."""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from hal.interface.device import Device
from hal.interface.dtypes import DType
from hal.interface.errors import UsageError


@dataclass(frozen=True, slots=True)
class Buffer:
    """A contiguous array. It keeps the array, and so the memory, alive."""

    given: Any
    """What the caller passed, which is what calls return."""
    array: np.ndarray[Any, Any]
    address: int
    nbytes: int
    count: int
    dtype: DType

    def block(self, index: int, blocks: int) -> int:
        """The address of the `index`-th of `blocks` equal parts."""
        return self.address + index * (self.nbytes // blocks)


def as_buffer(x: Any, what: str, *, writable: bool) -> Buffer:
    """What a collective needs of `x`; `UsageError` says why it cannot take it. `what` names the argument."""
    array = x if isinstance(x, np.ndarray) else _as_array(x, what)
    if not array.flags.c_contiguous:
        raise UsageError(
            f"{what} is not contiguous (shape {array.shape}, strides {array.strides}): pass np.ascontiguousarray(x)"
        )
    if writable and not array.flags.writeable:
        raise UsageError(f"{what} is read-only, and the result is written to it")
    if array.dtype.byteorder == ">":
        raise UsageError(f"{what} has dtype {array.dtype.str}: only the machine's own byte order is allowed")
    dtype = DType.of(array.dtype)
    return Buffer(x, array, array.__array_interface__["data"][0], array.nbytes, array.size, dtype)


def _as_array(x: Any, what: str) -> np.ndarray[Any, Any]:
    if hasattr(x, "__cuda_array_interface__"):
        raise UsageError(f"{what} lies in the memory of a GPU, which the host backend does not reach")
    try:
        if hasattr(x, "__dlpack__"):
            return np.from_dlpack(x)
        return np.asarray(memoryview(x))
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        raise UsageError(
            f"{what} is a {type(x).__name__}: allowed are NumPy arrays and what has DLPack or the buffer protocol"
            f" ({error})"
        ) from None


OVERLAP = "share memory other than as the in-place form allows"


def overlap(a: Buffer, b: Buffer) -> bool:
    """Whether two buffers share bytes."""
    return a.nbytes > 0 and b.nbytes > 0 and a.address < b.address + b.nbytes and b.address < a.address + a.nbytes


def empty(device: Device, shape: int | tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """An uninitialised array in memory that other ranks can map, which lives as long as the array and its views."""
    numpy_dtype = DType.of(dtype).numpy
    dims = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(d < 0 for d in dims):
        raise UsageError(f"shape {dims} has a negative dimension")
    nbytes = int(np.prod(dims, dtype=np.int64)) * numpy_dtype.itemsize
    if nbytes == 0:
        return np.empty(dims, numpy_dtype)
    memory = device.allocate(nbytes)
    raw = (ctypes.c_uint8 * nbytes).from_address(memory.address)
    # every view keeps `raw` alive through its chain of bases; at the end of the process all memory goes anyway
    weakref.finalize(raw, device.free, memory).atexit = False
    return np.frombuffer(memoryview(raw), dtype=np.uint8).view(numpy_dtype).reshape(dims)
