"""The device: memory of one segment, copies by the CPU, streams as threads, kernels of the C++ compiler."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hal.interface.capability import Capability
from hal.interface.device import Device, DeviceProperties, Event, Memory, Stream
from hal.interface.errors import PeerFailure, UsageError
from hal.interface.executor import Executor, Membership
from hal_sysv import compiler, process, segment
from hal_sysv.executor import create_executor
from hal_sysv.handle import Handle, unpack
from hal_sysv.heap import Heap
from hal_sysv.module import Kernel, Module
from hal_sysv.plugin import CAPABILITIES, Settings
from hal_sysv.stream import SysvEvent, SysvStream, own


class SysvDevice(Device):
    """The CPUs. What it holds goes when it is closed, or when nobody refers to it any more."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process = process.this()
        self.segment = segment.create(settings.memory)
        self._heap = Heap(self.segment.base + segment.HEAD, settings.memory)
        self._lock = threading.Lock()
        self._imports: dict[int, segment.Segment] = {}
        self._streams: weakref.WeakSet[SysvStream] = weakref.WeakSet()
        self._executors: weakref.WeakSet[Executor] = weakref.WeakSet()
        self._closed = False

    @property
    def properties(self) -> DeviceProperties:
        """Name, memory, number of CPUs."""
        return DeviceProperties(_processor(), 0, self.settings.memory, os.cpu_count() or 1)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do beyond the required primitives."""
        return frozenset(CAPABILITIES)

    # memory

    def allocate(self, nbytes: int) -> Memory:
        """A part of the segment."""
        self._check_open()
        if nbytes <= 0:
            raise UsageError(f"{nbytes} bytes cannot be allocated: 1 or more are allowed")
        address = self._heap.take(nbytes)
        if address is None:
            raise UsageError(
                f"no {nbytes} bytes in one piece are left of {self.settings.memory}: free some, or raise `sysv.memory`"
            )
        return Memory(address, nbytes, self)

    def free(self, memory: Memory) -> None:
        """Give back a part of the segment, or detach an import."""
        self._check_open()
        if self._heap.give_back(memory.address):
            return
        with self._lock:
            imported = self._imports.pop(memory.address, None)
        if imported is None:
            raise UsageError(f"no memory at {memory.address:#x} was allocated or imported, or it was freed before")
        imported.detach()

    def is_allocated(self, address: int, nbytes: int) -> bool:
        """Whether a range lies in memory of `allocate`."""
        return not self._closed and self._heap.holds(address, nbytes)

    def copy(self, dst: int, src: int, nbytes: int, stream: Stream | None = None) -> None:
        """Copy by the CPU."""
        _check_range(nbytes, dst, src)
        self._do(lambda: ctypes.memmove(dst, src, nbytes), stream)

    def fill(self, dst: int, value: int, nbytes: int, stream: Stream | None = None) -> None:
        """Fill by the CPU."""
        if not 0 <= value <= 255:
            raise UsageError(f"memory is filled with a byte, 0 to 255, not with {value}")
        _check_range(nbytes, dst)
        self._do(lambda: ctypes.memset(dst, value, nbytes), stream)

    def _do(self, work: Callable[[], Any], stream: Stream | None) -> None:
        self._check_open()
        if stream is None:
            work()
        else:
            own(stream).enqueue(work)

    def export_memory(self, memory: Memory) -> bytes:
        """Its place in the segment, and how to attach that."""
        self._check_open()
        size = self._heap.size_of(memory.address)
        if size is None or not 0 < memory.nbytes <= size:
            raise UsageError(
                f"{memory.nbytes} bytes at {memory.address:#x} cannot be exported: they were not allocated as such, or "
                "were freed before"
            )
        offset = memory.address - self.segment.base
        return Handle(self.segment.name, offset, memory.nbytes, self.process).pack()

    def import_memory(self, handle: bytes) -> Memory:
        """Attach the segment, once for each import."""
        self._check_open()
        wanted = unpack(handle)
        if not wanted.owner.alive():
            raise PeerFailure(f"process {wanted.owner.pid}, whose memory is to be imported, has ended")
        try:
            attached = segment.attach(wanted.segment)
        except segment.GoneError as error:
            raise PeerFailure(f"process {wanted.owner.pid} has closed its device: {error}") from error
        address = attached.base + wanted.offset
        with self._lock:
            self._imports[address] = attached
        return Memory(address, wanted.nbytes, self)

    # work

    def create_stream(self) -> Stream:
        """A thread, once it has work."""
        self._check_open()
        stream = SysvStream()
        self._streams.add(stream)
        return stream

    def create_event(self) -> Event:
        """A mark, not recorded yet."""
        self._check_open()
        return SysvEvent()

    def compile(self, source: str, options: Sequence[str] = ()) -> Module:
        """Compile C++17 that includes HAL's device headers; `options` are added to those of the compiler."""
        self._check_open()
        return Module(compiler.compile_library(source, tuple(options), self.settings.compile_timeout))

    def launch(
        self, kernel: Any, grid: int, block: int, arguments: Sequence[int | float], stream: Stream | None = None
    ) -> None:
        """Run a kernel, an attribute of a module, on the thread of the stream, or on this one."""
        if not isinstance(kernel, Kernel):
            raise UsageError(f"a kernel of a module that `compile` returned is needed, not a {type(kernel).__name__}")
        self._do(kernel.launcher(grid, block, arguments), stream)

    def create_executor(self, membership: Membership) -> Executor:
        """An executor that launches HAL's portable kernel."""
        self._check_open()
        executor = create_executor(self, membership)
        self._executors.add(executor)
        return executor

    def close(self) -> None:
        """Leave all groups, end all streams, detach all memory."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for executor in list(self._executors):
            executor.close()
        for stream in list(self._streams):
            stream.close()
        for imported in self._imports.values():
            imported.detach()
        self.segment.detach()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the device is closed")
        if os.getpid() != self.process.pid:
            raise UsageError("the device was opened before a fork: a child process opens its own")


def _check_range(nbytes: int, *addresses: int) -> None:
    if nbytes < 0:
        raise UsageError(f"a length is 0 or more, not {nbytes}")
    for address in addresses:
        if nbytes and not 0 < address <= (1 << 63) - nbytes:
            raise UsageError(f"there are no {nbytes} bytes at the address {address:#x}")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "CPU"
