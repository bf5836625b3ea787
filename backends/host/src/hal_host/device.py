"""The host device: this machine's CPUs, with memory that all processes of the user can map."""

from __future__ import annotations

import os
from collections.abc import Callable

from hal.interface.capability import Capability
from hal.interface.device import Device, DeviceProperties, Event, Memory, Stream
from hal.interface.errors import UsageError
from hal.interface.executor import Executor, Membership
from hal.plan.trace_file import TraceFile
from hal_host import _native, segment
from hal_host.executor import connect
from hal_host.recording import Recording
from hal_host.segment import Handle
from hal_host.settings import HostSettings
from hal_host.streams import HostEvent, HostStream


class HostDevice(Device):
    """The CPUs of this machine."""

    def __init__(self, settings: HostSettings) -> None:
        self._settings = settings
        self._segment = segment.own(settings.segment_size)
        self._allocated: dict[int, int] = {}
        self._imported: dict[int, list[Handle]] = {}
        self._streams: list[HostStream] = []
        self._recording: Recording | None = None

    @property
    def properties(self) -> DeviceProperties:
        """See `Device.properties`."""
        return DeviceProperties(
            name=cpu_name(),
            index=0,
            memory=self._settings.segment_size,
            compute_units=len(os.sched_getaffinity(0)),
            details={"instruction set": _native.kernel_isa()},
        )

    @property
    def capabilities(self) -> frozenset[Capability]:
        """See `Device.capabilities`."""
        return frozenset(
            {Capability.EXECUTOR, Capability.HOST_MAPPED, Capability.SWITCH_EMULATION, Capability.REMOTE_MEMBERS}
        )

    def allocate(self, nbytes: int) -> Memory:
        """See `Device.allocate`."""
        if nbytes <= 0:
            raise UsageError(f"cannot allocate {nbytes} bytes: at least 1 is needed")
        if self._segment.pid != os.getpid():
            raise UsageError("this device was opened before a fork, by the parent: open one in this process")
        address = self._segment.allocate(nbytes)
        self._allocated[address] = nbytes
        return Memory(address, nbytes, self)

    def free(self, memory: Memory) -> None:
        """See `Device.free`."""
        # finalizers of arrays call this, at any point of any other call: each step is atomic, and none takes a lock
        if self._allocated.pop(memory.address, None) is not None:
            self._segment.free(memory.address)
            return
        try:
            handle = self._imported[memory.address].pop()
        except LookupError:
            raise UsageError(f"memory at {memory.address:#x} is not allocated here, or was freed already") from None
        segment.unmap_foreign(handle)

    def copy(self, dst: int, src: int, nbytes: int, stream: Stream | None = None) -> None:
        """See `Device.copy`."""
        self._do(lambda: _native.copy(dst, src, nbytes, False), stream, nbytes)

    def fill(self, dst: int, value: int, nbytes: int, stream: Stream | None = None) -> None:
        """See `Device.fill`."""
        if not 0 <= value <= 255:
            raise UsageError(f"cannot fill with {value}: a byte is 0 to 255")
        self._do(lambda: _native.fill(dst, value, nbytes), stream, nbytes)

    def export_memory(self, memory: Memory) -> bytes:
        """See `Device.export_memory`."""
        if self._allocated.get(memory.address) != memory.nbytes:
            raise UsageError(f"memory at {memory.address:#x} was not allocated by this device")
        return self._segment.handle(memory.address, memory.nbytes).pack()

    def import_memory(self, handle: bytes) -> Memory:
        """See `Device.import_memory`."""
        parsed = Handle.unpack(handle)
        address = segment.map_foreign(parsed) + parsed.offset
        self._imported.setdefault(address, []).append(parsed)
        return Memory(address, parsed.nbytes, self)

    def create_stream(self) -> Stream:
        """See `Device.create_stream`."""
        stream = HostStream()
        self._streams.append(stream)
        return stream

    def create_event(self) -> Event:
        """See `Device.create_event`."""
        return HostEvent()

    def create_executor(self, membership: Membership) -> Executor:
        """See `Device.create_executor`."""
        return connect(membership, self._settings, self._recording)

    def record(self, file: TraceFile, rank: int) -> None:
        """See `Device.record`. Keeps the last `host.trace_events` events between two times of writing."""
        self._recording = Recording(file, rank, self._settings.trace_events)

    def close(self) -> None:
        """See `Device.close`."""
        for stream in self._streams:
            stream.close()
        self._streams.clear()
        if self._recording is not None:
            self._recording.close()
        while self._allocated:
            self._segment.free(self._allocated.popitem()[0])
        while self._imported:
            for handle in self._imported.popitem()[1]:
                segment.unmap_foreign(handle)

    def _do(self, work: Callable[[], None], stream: Stream | None, nbytes: int) -> None:
        if nbytes < 0:
            raise UsageError(f"a range of {nbytes} bytes")
        if stream is None:
            work()
        elif isinstance(stream, HostStream):
            stream.enqueue(work)
        else:
            raise UsageError(f"a stream of the host device is needed, not {type(stream).__name__}")


def cpu_name() -> str:
    """What the kernel calls this machine's CPU."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else os.uname().machine
