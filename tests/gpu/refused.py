"""Calls of a communicator that are refused, as a program: `python -m tests.gpu.refused`; what each says, as JSON.

Two ranks are threads on device 0 of the environment's backend, which has two devices. Each refused call is made by both
ranks, and the last call, which is right, shows that the communicator is as usable as before.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from hal.gpu.device import GpuDevice, open_device
from hal.interface.dtypes import DType
from hal.plan.builder import PlanBuilder
from hal_collectives import Communicator, run_local
from hal_collectives.dlpack import capsule

from .shared import said_by

prepared = threading.Barrier(2)


class Array:
    """An array of another library that has DLPack alone."""

    def __init__(self, device: GpuDevice, address: int, *, index: int = 0) -> None:
        self.place = device.dlpack_device[0], index
        self.address = address

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.place

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        return capsule(self, self.address, (16,), DType.FLOAT32, self.place)


def interface(address: int, **changes: Any) -> Any:
    """An array of 16 elements that has the array interface alone."""
    base = {"version": 3, "shape": (16,), "typestr": "<f4", "data": (address, False), "strides": None}
    return SimpleNamespace(__cuda_array_interface__=base | changes)


def wide() -> Any:
    """A plan of more blocks than a device holds."""
    p = PlanBuilder("custom", name="wide", ranks=2, input_chunks=300, output_chunks=300)
    for rank in p.ranks:
        for i in range(300):
            rank.block().copy(rank.output[i], rank.input[i])
    return p.build()


def calls(comm: Communicator) -> dict[str, str]:
    """What is said of each."""
    device = comm.device
    assert isinstance(device, GpuDevice)
    other = open_device(device.driver, device.settings, 1)
    x = comm.empty(16, np.float32)
    at = x.address
    elsewhere, freed, theirs = other.allocate(64), device.allocate(64), other.create_stream()
    unaligned = device.allocate(128).address + 2
    prepared.wait(20)  # nobody allocates after it
    device.free(freed)
    prepared.wait(20)
    tried: dict[str, Callable[[], object]] = {
        "host": lambda: comm.all_reduce(np.ones(16, np.float32)),
        "host pointer": lambda: comm.all_reduce(interface(np.ones(16, np.float32).ctypes.data)),
        "output on the host": lambda: comm.all_reduce(x, out=np.ones(16, np.float32)),
        "no address": lambda: comm.all_reduce(interface(1 << 50)),
        "null": lambda: comm.all_reduce(interface(0)),
        "another device": lambda: comm.all_reduce(interface(elsewhere.address)),
        "another device by DLPack": lambda: comm.all_reduce(Array(device, elsewhere.address, index=1)),
        "freed": lambda: comm.all_reduce(interface(freed.address)),
        "misaligned": lambda: comm.all_reduce(interface(unaligned)),
        "past the end": lambda: comm.all_reduce(interface(at, shape=(1 << 20,))),
        "strided": lambda: comm.all_reduce(interface(at, shape=(8,), strides=(8,))),
        "read-only": lambda: comm.all_reduce(interface(at, data=(at, True))),
        "no array": lambda: comm.all_reduce(7),
        "type": lambda: comm.all_reduce(interface(at, typestr="<c8", shape=(8,))),
        "type of empty": lambda: comm.empty(4, np.complex64),
        "types differ": lambda: comm.all_reduce(x, out=comm.empty(16, np.float64)),
        "stream of another device": lambda: comm.on(theirs).all_reduce(x),
        "its handle": lambda: comm.on(SimpleNamespace(cuda_stream=theirs.handle)).all_reduce(x),
        "its index": lambda: comm.on(SimpleNamespace(cuda_stream=5, device_index=1)).all_reduce(x),
        "no stream": lambda: comm.on("stream").all_reduce(x),
        "grid": lambda: comm.caller.group.load(wide(), 1, DType.FLOAT32),
    }
    said = said_by(tried)
    x.copy_from(np.full(16, comm.rank + 1, np.float32))
    comm.all_reduce(x)
    assert (x.numpy() == 3).all()
    return said


if __name__ == "__main__":
    print(json.dumps(run_local(2, calls, backend=os.environ["HAL_BACKEND"], timeout=20, verify="never")))
