"""Arrays as a collective sees them: an address, a count and a type; and what is wrong with those it cannot take."""

from __future__ import annotations

import ctypes
import math
import weakref
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from hal.interface.capability import Capability
from hal.interface.device import Device, Stream
from hal.interface.dtypes import DType
from hal.interface.errors import UsageError
from hal_collectives.device_array import DeviceArray, described, on_device


@dataclass(frozen=True, slots=True)
class Buffer:
    """A contiguous array. It keeps the array, and so the memory, alive."""

    given: Any
    """What the caller passed, which is what calls return."""
    array: Any
    """What keeps the memory alive."""
    shape: tuple[int, ...]
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
    return Buffer(x, array, array.shape, array.__array_interface__["data"][0], array.nbytes, array.size, dtype)


def _as_array(x: Any, what: str) -> np.ndarray[Any, Any]:
    if on_device(x):
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


class Arrays:
    """The arrays of one communicator: in memory that host and device share, or in the device's own."""

    def __init__(self, device: Device, timeout: float) -> None:
        self.device = device
        self.shared = Capability.HOST_MAPPED in device.capabilities
        """Whether the host reads and writes what the device reaches: arrays are NumPy's."""
        self._timeout = timeout
        self._order: Stream | None = None

    def buffer(self, x: Any, what: str, *, writable: bool, settle: bool) -> Buffer:
        """What a collective needs of `x`; `UsageError` says why it cannot take it.

        With `settle` the work that other libraries still have under way on it is done when this returns.
        """
        if self.shared or isinstance(x, np.ndarray):
            return as_buffer(x, what, writable=writable)
        if isinstance(x, DeviceArray):
            if x.device.dlpack_device != self.device.dlpack_device:
                number = x.device.dlpack_device[1]
                raise UsageError(
                    f"{what} lies on device {number}, this rank is on device {self.device.dlpack_device[1]}"
                )
            return Buffer(x, x, x.shape, x.address, x.nbytes, x.size, x.hal_dtype)
        if not on_device(x):
            return as_buffer(x, what, writable=writable)
        if settle and self._order is None:
            self._order = self.device.create_stream()
        found = described(x, what, self.device, self._order.handle if settle and self._order else -1)
        if settle and self._order is not None:
            if found.stream is not None:
                mark = self.device.create_event()
                mark.record(cast("Stream", SimpleNamespace(ptr=found.stream)))
                mark.synchronize(self._timeout)
            self._order.synchronize(self._timeout)
        if found.dtype is None:
            known = ", ".join(each.name.lower() for each in DType)
            raise UsageError(
                f"{what} has an element type that HAL does not have ({found.type_text}): allowed are {known}"
            )
        if writable and not found.writable:
            raise UsageError(f"{what} is read-only, and the result is written to it")
        count = math.prod(found.shape)
        nbytes = count * found.dtype.itemsize
        return Buffer(x, x, found.shape, found.address if nbytes else 0, nbytes, count, found.dtype)

    def new(self, shape: tuple[int, ...], dtype: DType) -> Any:
        """An array for a result."""
        return np.empty(shape, dtype.numpy) if self.shared else DeviceArray(self.device, shape, dtype)

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Any:
        """An array in memory that other ranks can map."""
        if self.shared:
            return empty(self.device, shape, dtype)
        return DeviceArray(self.device, _dims(shape), DType.of(dtype))

    def like(self, src: Buffer, room: Any) -> Buffer:
        """A buffer such as `src`, flat, in an array of `empty` of as many bytes or more."""
        if self.shared:
            return as_buffer(room[: src.nbytes].view(src.array.dtype), "x", writable=False)
        return replace(src, array=room, shape=(src.count,), address=room.address)

    def copy(self, dst: Buffer, src: Buffer) -> None:
        """Copy the data of `src` to one that is like it."""
        if self.shared:
            np.copyto(dst.array, src.array.reshape(-1))
        elif src.nbytes:
            self.device.copy(dst.address, src.address, src.nbytes)

    def close(self) -> None:
        """Give back what was made for this."""
        if self._order is not None:
            self._order.close()


def _dims(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    dims = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(d < 0 for d in dims):
        raise UsageError(f"shape {dims} has a negative dimension")
    return dims


def empty(device: Device, shape: int | tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """An uninitialised array in memory that other ranks can map, which lives as long as the array and its views."""
    numpy_dtype = DType.of(dtype).numpy
    dims = _dims(shape)
    nbytes = int(np.prod(dims, dtype=np.int64)) * numpy_dtype.itemsize
    if nbytes == 0:
        return np.empty(dims, numpy_dtype)
    memory = device.allocate(nbytes)
    raw = (ctypes.c_uint8 * nbytes).from_address(memory.address)
    # every view keeps `raw` alive through its chain of bases; at the end of the process all memory goes anyway
    weakref.finalize(raw, device.free, memory).atexit = False
    return np.frombuffer(memoryview(raw), dtype=np.uint8).view(numpy_dtype).reshape(dims)
