"""Arrays in the memory of a device that the host does not reach: `Communicator.empty`'s, and other libraries'."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np

from hal.interface.device import Device
from hal.interface.dtypes import DType
from hal.interface.errors import UsageError
from hal_collectives import dlpack
from hal_collectives.dlpack import Described

HOST_TYPES = (1, 3, 11)
"""DLPack's types of memory that the host reaches by itself: its own, and that which drivers pin."""


class DeviceArray:
    """A contiguous array in a device's memory. Other libraries take it as it is, through DLPack or the array interface.

    It has no arithmetic: `torch.from_dlpack(x)` and the like give it some, on the same memory. `copy_from` and `numpy`
    bring data there and back. The memory is given back with the last array that refers to it.
    """

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: DType) -> None:
        self.shape, self.hal_dtype, self.device = shape, dtype, device
        self.dtype = dtype.numpy
        self.size = math.prod(shape)
        self.nbytes = self.size * dtype.itemsize
        self.address = 0
        if self.nbytes:
            memory = device.allocate(self.nbytes)
            self.address = memory.address
            weakref.finalize(self, device.free, memory).atexit = False

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3; types that NumPy lacks are given as their bits."""
        plain = self.dtype if self.dtype.isbuiltin == 1 else np.dtype(f"u{self.dtype.itemsize}")
        return {"version": 3, "shape": self.shape, "typestr": plain.str, "data": (self.address, False), "strides": None}

    def __dlpack_device__(self) -> tuple[int, int]:
        """Type and number of the device."""
        return self.device.dlpack_device

    def __dlpack__(self, *, stream: Any = None, **_: Any) -> Any:
        """A capsule. Calls that were enqueued have to be ordered by the streams they were enqueued on."""
        return dlpack.capsule(self, self.address, self.shape, self.hal_dtype, self.device.dlpack_device)

    def copy_from(self, array: Any) -> DeviceArray:
        """Fill it from an array of the host, of the same type and number of elements; returns itself."""
        source = np.ascontiguousarray(array)
        if source.dtype != self.dtype or source.size != self.size:
            raise UsageError(
                f"{source.size} elements of {source.dtype} do not fill {self.size} of {self.hal_dtype.label}"
            )
        if self.nbytes:
            self.device.copy(self.address, source.__array_interface__["data"][0], self.nbytes)
        return self

    def numpy(self) -> np.ndarray[Any, Any]:
        """A copy in the host's memory."""
        array = np.empty(self.shape, self.dtype)
        if self.nbytes:
            self.device.copy(array.__array_interface__["data"][0], self.address, self.nbytes)
        return array

    def __repr__(self) -> str:
        return f"<DeviceArray {self.shape} {self.hal_dtype.label} on {self.device.properties.name}>"


def on_device(x: Any) -> bool:
    """Whether an array says that it lies in a device's memory."""
    place = getattr(x, "__dlpack_device__", None)
    if place is not None:
        return int(place()[0]) not in HOST_TYPES
    return getattr(x, "__cuda_array_interface__", None) is not None


def described(x: Any, what: str, device: Device, stream: int) -> Described:
    """What an array in device memory is; `UsageError` where calls cannot take it.

    `stream` is that which is to wait for what the array's maker still has under way, -1 for none.
    """
    try:
        if hasattr(x, "__dlpack__"):
            place = tuple(map(int, x.__dlpack_device__()))
            if place != device.dlpack_device:
                kind, own = place[0], device.dlpack_device
                where = f"device {place[1]}" if kind == own[0] else f"a device of another kind (DLPack type {kind})"
                raise UsageError(f"{what} lies on {where}, this rank is on device {own[1]}")
            found = dlpack.describe(x.__dlpack__(stream=stream))
        else:
            found = _interface(x.__cuda_array_interface__)
    except (TypeError, ValueError, BufferError, RuntimeError, KeyError) as error:
        if isinstance(error, UsageError):
            raise
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise UsageError(f"{what} is a {type(x).__name__} that cannot be read: {reason}") from None
    if not _contiguous(found):
        raise UsageError(f"{what} is not contiguous (shape {found.shape}, strides {found.strides}): copy it first")
    return found


def _interface(given: dict[str, Any]) -> Described:
    """The array interface. Its stream is to be waited for by whoever is not ordered behind it."""
    dtype = np.dtype(given["typestr"])
    address, read_only = given["data"]
    strides = given.get("strides")
    elements = None if strides is None else tuple(s // dtype.itemsize for s in strides)
    stream = given.get("stream")
    if stream is not None and not isinstance(stream, int):
        raise ValueError(f"its stream is {stream!r}: an integer is needed")
    try:
        known = DType.of(dtype) if dtype.byteorder != ">" else None
    except UsageError:
        known = None
    return Described(int(address), tuple(given["shape"]), elements, known, dtype.str, not read_only, stream)


def _contiguous(found: Described) -> bool:
    if found.strides is None or 0 in found.shape:
        return True
    expected = 1
    for length, stride in zip(reversed(found.shape), reversed(found.strides), strict=True):
        if length != 1 and stride != expected:
            return False
        expected *= length
    return True
