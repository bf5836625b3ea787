"""Arrays and streams of another library, as torch and CuPy have them, on the double; and that a call is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hal.interface.device import Device
from hal.interface.dtypes import DType
from hal_collectives.dlpack import capsule


class ForeignArray:
    """An array of another library: DLPack alone. What is under way on it comes before the stream that is asked for."""

    def __init__(self, device: Device, array: np.ndarray[Any, Any], *, index: int = 0) -> None:
        self.memory = device.allocate(array.nbytes + 64)
        self.address, self.shape, self.index = self.memory.address, array.shape, index
        self.dtype, self.nbytes, self.owner = array.dtype, array.nbytes, device
        self.asked: list[int] = []
        self.given = np.ascontiguousarray(array)
        device.copy(self.address, self.given.ctypes.data, array.nbytes)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.index

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        self.asked.append(-2 if stream is None else stream)
        return capsule(self, self.address, self.shape, DType.of(self.dtype), (2, self.index))

    def numpy(self) -> np.ndarray[Any, Any]:
        array = np.empty(self.shape, self.dtype)
        self.owner.copy(array.ctypes.data, self.address, self.nbytes)
        return array


class Interface:
    """An array with the array interface alone."""

    def __init__(self, inner: ForeignArray, **changes: Any) -> None:
        self.inner = inner
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": inner.shape,
            "typestr": inner.dtype.str,
            "data": (inner.address, False),
            "strides": None,
        } | changes


class ForeignStream:
    """A stream as torch has it."""

    def __init__(self, handle: int, index: int = 0) -> None:
        self.cuda_stream, self.device_index = handle, index


def refused(kind: type[Exception], call: Callable[[], object], *texts: str) -> None:
    """That a call raises, and what the message says."""
    with pytest.raises(kind) as caught:
        call()
    for text in texts:
        assert text in str(caught.value)
