"""A process's memory on one device: one range, taken once, in which everything is allocated.

Taking and giving back memory may make the driver wait until the device is idle. A rank that does so while another
rank's kernel waits for it waits for ever, so that it is done once, before any kernel runs. All that peers have to map
is then this one range, of which a handle names a part.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
import threading
from dataclasses import dataclass

from hal.gpu.driver import Driver, Status
from hal.interface.errors import BackendUnavailable, PeerFailure, UsageError
from hal.runtime import processes
from hal.runtime.heap import Heap, HeapFull

_HANDLE = struct.Struct("<8s16sQQ16sQQQQ64s")
_MAGIC = b"HALGPU01"
_SEAL = 8
HOST_BYTES = 1 << 20
"""Host memory that kernels reach, for the words that they and the host tell each other."""


@dataclass(frozen=True)
class Handle:
    """What an exported range is called between processes."""

    backend: str
    """Its section (`Driver.section`)."""
    pid: int
    start: int
    """When the process was started."""
    uuid: bytes
    """Of the device."""
    base: int
    """The address of the segment in its process."""
    segment_bytes: int
    offset: int
    nbytes: int
    ipc: bytes
    """The driver's handle of the segment."""

    def pack(self) -> bytes:
        """As bytes, sealed: a driver would not notice all that may be altered."""
        place = self.uuid, self.base, self.segment_bytes, self.offset, self.nbytes
        data = _HANDLE.pack(_MAGIC, self.backend.encode(), self.pid, self.start, *place, self.ipc)
        return data + hashlib.sha256(data).digest()[:_SEAL]

    @classmethod
    def unpack(cls, data: bytes, backend: str) -> Handle:
        """From bytes; `UsageError` where they are no handle of this backend."""
        body, seal = data[:-_SEAL], data[-_SEAL:]
        whole = len(body) == _HANDLE.size and body.startswith(_MAGIC)
        if not whole or hashlib.sha256(body).digest()[:_SEAL] != seal:
            raise UsageError(f"{len(data)} bytes that are no memory handle of the backend {backend!r}")
        name, *fields = _HANDLE.unpack(body)[1:]
        handle = cls(name.rstrip(b"\0").decode(errors="replace"), *fields)
        if handle.backend != backend:
            raise UsageError(f"a memory handle of the backend {handle.backend!r}, not of {backend!r}")
        if handle.nbytes > handle.segment_bytes or handle.offset > handle.segment_bytes - handle.nbytes:
            raise UsageError("a memory handle whose range lies outside its segment")
        return handle


class Segment:
    """The range of one device, and some host memory that kernels reach. The device is current when it is made."""

    def __init__(self, driver: Driver, index: int, uuid: bytes, nbytes: int) -> None:
        self._driver = driver
        self.index = index
        self.nbytes = nbytes
        self.pid = os.getpid()
        try:
            self.base = driver.malloc(nbytes)
        except driver.errors as error:
            if driver.status(error) is not Status.OUT_OF_MEMORY:
                raise
            raise BackendUnavailable(
                f"device {index} has no {nbytes} bytes of memory left: set {driver.section}.segment_size to less"
            ) from error
        self.uuid = uuid
        self.heap = Heap(nbytes)
        self.host_base = driver.host_malloc(HOST_BYTES)
        if driver.pointer(self.host_base).device_address != self.host_base:
            raise BackendUnavailable(f"device {index} reaches host memory at another address than the host does")
        ctypes.memset(self.host_base, 0, HOST_BYTES)
        self._host_heap = Heap(HOST_BYTES)
        self._ipc = b""
        self._streams: list[int] = []
        self.freed = 0
        """How often memory was freed: what was found valid may not be any more."""

    @property
    def forked(self) -> bool:
        """Whether this process was forked from the one whose segment this is, and cannot use it."""
        return self.pid != os.getpid()

    def allocate(self, nbytes: int) -> int:
        """The address of new memory; `UsageError` where there is no room."""
        try:
            return self.base + self.heap.allocate(nbytes)
        except HeapFull as error:
            setting = f"{self._driver.section}.segment_size"
            raise UsageError(f"out of device memory: {error}; {setting} sets how much there is") from None

    def free(self, address: int) -> None:
        """Give back what `allocate` returned; `KeyError` where nothing is allocated there."""
        self.heap.free(address - self.base)
        self.freed += 1

    def allocate_host(self, nbytes: int) -> int:
        """The address of new host memory that kernels reach; `UsageError` where there is no room."""
        try:
            return self.host_base + self._host_heap.allocate(nbytes)
        except HeapFull:
            raise UsageError(
                f"no host memory is left for another communicator on device {self.index}: its communicators share "
                f"{HOST_BYTES} bytes, close some"
            ) from None

    def free_host(self, address: int) -> None:
        """Give back what `allocate_host` returned."""
        self._host_heap.free(address - self.host_base)

    def inside(self, address: int, nbytes: int) -> bool:
        """Whether a range lies in the segment, allocated or not."""
        return self.base <= address and address + nbytes <= self.base + self.nbytes

    def handle(self, address: int, nbytes: int) -> Handle:
        """The handle of a range."""
        if not self._ipc:
            with self._driver.doing("exporting memory (the kernel of a container may forbid IPC)"):
                self._ipc = self._driver.ipc_export(self.base)
        name, offset = self._driver.section, address - self.base
        return Handle(name, *processes.own(), self.uuid, self.base, self.nbytes, offset, nbytes, self._ipc)

    def take_stream(self) -> int:
        """A stream that waits for no other. They are kept: drivers deal them out to queues as they are made."""
        try:
            return self._streams.pop()
        except IndexError:
            return self._driver.stream_create()

    def return_stream(self, stream: int) -> None:
        """Give a stream back; its work is done."""
        self._streams.append(stream)


_lock = threading.RLock()  # finalizers unmap
_segments: dict[tuple[str, int], Segment] = {}
_Key = tuple[str, int, int, bytes, int, int]
_foreign: dict[_Key, tuple[int, int]] = {}
"""Where other processes' segments are mapped, with the number of users."""


def own(driver: Driver, index: int, uuid: bytes, nbytes: int) -> Segment:
    """This process's segment on a device, made now if there is none."""
    with _lock:
        key = driver.section, index
        segment = _segments.get(key)
        if segment is None:
            segment = _segments[key] = Segment(driver, index, uuid, nbytes)
        if segment.forked:
            raise UsageError(
                f"{driver.label} was used before this process was forked: use it in new processes alone (spawn)"
            )
        return segment


def map_foreign(driver: Driver, handle: Handle, index: int) -> int:
    """The address at which device `index` reaches the segment of `handle`. Each call wants one `unmap_foreign`."""
    with _lock:
        if (handle.pid, handle.start) == processes.own():
            return _map_own(driver, handle, index)
        if not processes.alive(handle.pid, handle.start):
            raise PeerFailure(f"process {handle.pid}, which exported memory, has ended")
        key = _key(handle, index)
        address, users = _foreign.get(key, (0, 0))
        if not users:
            try:
                address = driver.ipc_import(handle.ipc)
            except driver.errors as error:
                if not processes.alive(handle.pid, handle.start):
                    raise PeerFailure(f"process {handle.pid}, which exported memory, has ended") from error
                raise BackendUnavailable(
                    f"cannot map the device memory of process {handle.pid}: the driver says {error}; ranks must be "
                    "processes of one user on one machine, in one container, on devices that reach each other"
                ) from error
        _foreign[key] = (address, users + 1)
        return address


def unmap_foreign(driver: Driver, handle: Handle, index: int) -> None:
    """Drop one use of a mapping; the last one unmaps it. The device is current."""
    with _lock:
        key = _key(handle, index)
        if key in _foreign:
            address, users = _foreign.pop(key)
            if users > 1:
                _foreign[key] = (address, users - 1)
            else:
                with driver.doing("unmapping memory"):
                    driver.ipc_close(address)


def _key(handle: Handle, index: int) -> _Key:
    return (handle.backend, handle.pid, handle.start, handle.uuid, handle.base, index)


def _map_own(driver: Driver, handle: Handle, index: int) -> int:
    wanted = handle.uuid, handle.base, handle.segment_bytes
    for (section, _), segment in _segments.items():
        if section == driver.section and (segment.uuid, segment.base, segment.nbytes) == wanted:
            break
    else:
        raise UsageError("a memory handle of this process that names no memory of it")
    if segment.index == index:
        return segment.base
    if not driver.can_access(index, segment.index):
        raise BackendUnavailable(
            f"device {index} does not reach the memory of device {segment.index}: no link allows it"
        )
    try:
        driver.enable_access(segment.index)
    except driver.errors as error:
        raise BackendUnavailable(f"device {index} is refused access to device {segment.index}: {error}") from error
    return segment.base
