"""Arrays and streams of other libraries in collectives, as a program: `python -m tests.gpu.interop`.

Two ranks are threads on the environment's backend, which has two devices. What torch and CuPy hand out is imitated,
with work that is still under way on the library's own stream. What is refused is printed, as JSON.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from hal.gpu.device import GpuDevice
from hal.interface.device import Stream
from hal.interface.dtypes import DType
from hal_collectives import Communicator, DeviceArray, dlpack, run_local

from .shared import said_by

COUNT = 500
LARGE = 1 << 24


class Library:
    """Another library on a rank's device: what it does is done on a stream of its own, behind much other work."""

    def __init__(self, device: GpuDevice) -> None:
        self.device = device
        self.stream = device.create_stream()
        self.room = device.allocate(LARGE)

    def array(self, value: float) -> DeviceArray:
        """Memory that is filled when the stream gets to it, and holds something else until then."""
        made = DeviceArray(self.device, (COUNT,), DType.FLOAT32).copy_from(np.full(COUNT, -1, np.float32))
        source = DeviceArray(self.device, (COUNT,), DType.FLOAT32).copy_from(np.full(COUNT, value, np.float32))
        for _ in range(8):
            self.device.fill(self.room.address, 0, LARGE, self.stream)
        self.device.copy(made.address, source.address, made.nbytes, self.stream)
        self.kept = source
        return made


class Tensor:
    """DLPack alone, as the protocol has it: the stream that is named waits for what is under way."""

    def __init__(self, library: Library, held: DeviceArray, **changes: Any) -> None:
        self.library, self.held = library, held
        self.place = changes.pop("place", held.device.dlpack_device)
        self.changes = changes

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.place

    def __dlpack__(self, *, stream: int | None = None, **options: Any) -> Any:
        if self.changes.get("read_only"):
            raise BufferError("a read-only array needs a newer DLPack")
        assert not options
        if stream != -1:
            assert stream is not None
            assert stream > 2, "a stream that has no handle"
            event = self.library.device.create_event()
            event.record(self.library.stream)
            event.wait(SimpleNamespace(ptr=stream))  # type: ignore[arg-type]  # a stream as libraries have it
        made = dlpack.capsule(self, self.held.address, self.held.shape, DType.FLOAT32, self.place)
        tensor = dlpack._Managed.from_address(dlpack._pointer(made, b"dltensor")).tensor
        if "strides" in self.changes:
            self.strides = (dlpack.ctypes.c_int64 * 1)(self.changes["strides"])
            tensor.strides = self.strides
        if "code" in self.changes:
            tensor.code = self.changes["code"]
        return made


def interface(held: DeviceArray, **changes: Any) -> Any:
    """The array interface alone."""
    return SimpleNamespace(held=held, __cuda_array_interface__=held.__cuda_array_interface__ | changes)


def streams(stream: Stream) -> Iterator[Any]:
    """A stream in the forms in which libraries have it."""
    yield SimpleNamespace(cuda_stream=stream.handle, device_index=0)  # torch
    yield SimpleNamespace(cuda_stream=stream.handle, device=SimpleNamespace(index=0))
    yield SimpleNamespace(ptr=stream.handle, device_id=0)  # CuPy
    yield SimpleNamespace(ptr=stream.handle)
    yield SimpleNamespace(__cuda_stream__=lambda: (0, stream.handle))
    yield SimpleNamespace(__cuda_stream__=(0, stream.handle))


def given(comm: Communicator, library: Library) -> None:
    """Arrays that are taken, while their library still works on them."""
    mine, total = comm.rank + 1, 3
    held = library.array(mine)
    tensor = Tensor(library, held)
    assert comm.all_reduce(tensor) is tensor
    assert (held.numpy() == total).all()
    held, out = library.array(mine), comm.empty((2, COUNT))
    comm.all_gather(Tensor(library, held), out)
    assert (out.numpy() == [[1], [2]]).all()
    held = library.array(mine)
    comm.broadcast(Tensor(library, held), root=1)
    assert (held.numpy() == 2).all()
    held = library.array(mine)
    comm.all_reduce(interface(held, stream=library.stream.handle))
    assert (held.numpy() == total).all()
    comm.all_reduce(interface(held))  # which is ready
    assert (held.numpy() == 2 * total).all()
    if comm.rank == 0:
        comm.send(Tensor(library, library.array(7)), 1)
    else:
        held = library.array(0)
        comm.recv(Tensor(library, held), 0)
        assert (held.numpy() == 7).all()


def ordered(comm: Communicator, library: Library) -> None:
    """Calls on streams of other libraries: after what is there, before what comes later."""
    out = DeviceArray(library.device, (COUNT,), DType.FLOAT32)
    for stream in streams(library.stream):
        held = library.array(comm.rank + 1)
        comm.on(stream).all_reduce(Tensor(library, held))
        library.device.copy(out.address, held.address, held.nbytes, library.stream)
        library.device.fill(held.address, 0, held.nbytes, library.stream)
        library.stream.synchronize(20)
        comm.check()
        assert (out.numpy() == 3).all()
        assert (held.numpy() == 0).all()


def on_the_host(comm: Communicator, device: GpuDevice) -> None:
    """Memory of the host that the device reaches serves as its own does, beside memory of the device."""
    nbytes = 4 * COUNT
    with device.current():
        address = device.driver.host_malloc(nbytes)
    x = np.frombuffer((ctypes.c_char * nbytes).from_address(address), np.float32)
    x[:] = comm.rank + 1
    comm.all_reduce(x)
    assert (x == 3).all()
    if comm.rank == 0:
        comm.broadcast(x)
        assert (x == 3).all()
    else:
        held = comm.empty(COUNT)
        comm.broadcast(held)
        assert (held.numpy() == 3).all()
    comm.barrier()
    with device.current():
        device.driver.host_free(address)


def refused(comm: Communicator, library: Library) -> dict[str, str]:
    """What is said of arrays and streams that cannot be taken."""
    held = library.array(1)
    kind, index = held.device.dlpack_device
    tried: dict[str, Callable[[], object]] = {
        "another kind of device": lambda: comm.all_reduce(Tensor(library, held, place=(12 - kind, index))),
        "another device": lambda: comm.all_reduce(Tensor(library, held, place=(kind, 1))),
        "strided": lambda: comm.all_reduce(Tensor(library, held, strides=2)),
        "read-only": lambda: comm.all_reduce(Tensor(library, held, read_only=True)),
        "complex": lambda: comm.all_reduce(Tensor(library, held, code=5)),
        "byte-swapped": lambda: comm.all_reduce(interface(held, typestr=">f4")),
        "read-only interface": lambda: comm.broadcast(interface(held, data=(held.address, True))),
        "no interface": lambda: comm.all_reduce(SimpleNamespace(__cuda_array_interface__={"version": 3})),
        "stream of an array": lambda: comm.all_reduce(interface(held, stream="1")),
        "stream of a version": lambda: comm.on(SimpleNamespace(__cuda_stream__=(9, 5))).all_reduce(held),
        "stream of a device": lambda: comm.on(SimpleNamespace(ptr=5, device_id=1)).all_reduce(held),
        "handle that is no number": lambda: comm.on(SimpleNamespace(ptr="5")).all_reduce(held),
    }
    return said_by(tried)


def body(comm: Communicator) -> dict[str, str]:
    """All of it; that calls were refused leaves the rest as it was."""
    assert isinstance(comm.device, GpuDevice)
    library = Library(comm.device)
    given(comm, library)
    ordered(comm, library)
    on_the_host(comm, comm.device)
    said = refused(comm, library)
    given(comm, library)
    return said


if __name__ == "__main__":
    print(json.dumps(run_local(2, body, timeout=20, verify="never")))
