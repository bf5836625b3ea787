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

from hal.interface.errors import BackendUnavailable, PeerFailure, UsageError
from hal.runtime.heap import Heap, HeapFull
from hal_cuda import driver, processes
from hal_cuda.driver import Cuda

_HANDLE = struct.Struct("<8sQQ16sQQQQ64s")
_MAGIC = b"HALCUDA1"
_SEAL = 8
HOST_BYTES = 1 << 18
"""Host memory that kernels reach, for the words that they and the host tell each other."""


@dataclass(frozen=True)
class Handle:
    """What an exported range is called between processes."""

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
    """CUDA's handle of the segment."""

    def pack(self) -> bytes:
        """As bytes, sealed: CUDA would not notice all that may be altered."""
        data = _HANDLE.pack(
            _MAGIC, self.pid, self.start, self.uuid, self.base, self.segment_bytes, self.offset, self.nbytes, self.ipc
        )
        return data + hashlib.sha256(data).digest()[:_SEAL]

    @classmethod
    def unpack(cls, data: bytes) -> Handle:
        """From bytes; `UsageError` where they are no handle."""
        body, seal = data[:-_SEAL], data[-_SEAL:]
        whole = len(body) == _HANDLE.size and body.startswith(_MAGIC)
        if not whole or hashlib.sha256(body).digest()[:_SEAL] != seal:
            raise UsageError(f"{len(data)} bytes that are no memory handle of the CUDA backend")
        handle = cls(*_HANDLE.unpack(body)[1:])
        if handle.nbytes > handle.segment_bytes or handle.offset > handle.segment_bytes - handle.nbytes:
            raise UsageError("a memory handle whose range lies outside its segment")
        return handle


class Segment:
    """The range of one device, and some host memory that kernels reach. The device is current when it is made."""

    def __init__(self, cuda: Cuda, index: int, nbytes: int) -> None:
        self._cuda = cuda
        self.index = index
        self.nbytes = nbytes
        self.pid = os.getpid()
        try:
            self.base = int(cuda.runtime.malloc(nbytes))
        except cuda.runtime.CUDARuntimeError as error:
            if driver.status_of(error) != driver.MEMORY_ALLOCATION:
                raise
            raise BackendUnavailable(
                f"device {index} has no {nbytes} bytes of memory left: set cuda.segment_size to less"
            ) from error
        self.uuid = bytes(cuda.runtime.getDeviceProperties(index)["uuid"]).ljust(16, b"\0")[:16]
        self.heap = Heap(nbytes)
        self.host_base = int(cuda.runtime.hostAlloc(HOST_BYTES, driver.HOST_PORTABLE_MAPPED))
        mapped = cuda.runtime.pointerGetAttributes(self.host_base).devicePointer
        if mapped != self.host_base:
            raise BackendUnavailable(f"device {index} reaches host memory at another address than the host does")
        ctypes.memset(self.host_base, 0, HOST_BYTES)
        self.host_heap = Heap(HOST_BYTES)
        self._ipc = b""
        self._streams: list[int] = []
        self.freed = 0
        """How often memory was freed: what was found valid may not be any more."""

    def allocate(self, nbytes: int) -> int:
        """The address of new memory; `UsageError` where there is no room."""
        try:
            return self.base + self.heap.allocate(nbytes)
        except HeapFull as error:
            raise UsageError(f"out of device memory: {error}; cuda.segment_size sets how much there is") from None

    def free(self, address: int) -> None:
        """Give back what `allocate` returned; `KeyError` where nothing is allocated there."""
        self.heap.free(address - self.base)
        self.freed += 1

    def inside(self, address: int, nbytes: int) -> bool:
        """Whether a range lies in the segment, allocated or not."""
        return self.base <= address and address + nbytes <= self.base + self.nbytes

    def handle(self, address: int, nbytes: int) -> Handle:
        """The handle of a range."""
        if not self._ipc:
            with self._cuda.doing("exporting memory (the kernel of a container may forbid IPC)"):
                self._ipc = bytes(self._cuda.runtime.ipcGetMemHandle(self.base))
        return Handle(*processes.own(), self.uuid, self.base, self.nbytes, address - self.base, nbytes, self._ipc)

    def take_stream(self) -> int:
        """A stream that waits for no other. Streams are kept: CUDA deals them out to its queues as they are made."""
        try:
            return self._streams.pop()
        except IndexError:
            return int(self._cuda.runtime.streamCreateWithFlags(driver.STREAM_NON_BLOCKING))

    def return_stream(self, stream: int) -> None:
        """Give a stream back; its work is done."""
        self._streams.append(stream)


_lock = threading.RLock()  # finalizers unmap
_segments: dict[int, Segment] = {}
_Key = tuple[int, int, bytes, int, int]
_foreign: dict[_Key, tuple[int, int]] = {}
"""Where other processes' segments are mapped, with the number of users."""


def own(cuda: Cuda, index: int, nbytes: int) -> Segment:
    """This process's segment on a device, made now if there is none."""
    with _lock:
        segment = _segments.get(index)
        if segment is None:
            segment = _segments[index] = Segment(cuda, index, nbytes)
        if segment.pid != os.getpid():
            raise UsageError("CUDA was used before this process was forked: use it in new processes alone (spawn)")
        return segment


def map_foreign(cuda: Cuda, handle: Handle, index: int) -> int:
    """The address at which device `index` reaches the segment of `handle`. Each call wants one `unmap_foreign`."""
    with _lock:
        if (handle.pid, handle.start) == processes.own():
            return _map_own(cuda, handle, index)
        if not processes.alive(handle.pid, handle.start):
            raise PeerFailure(f"process {handle.pid}, which exported memory, has ended")
        key = _key(handle, index)
        address, users = _foreign.get(key, (0, 0))
        if not users:
            try:
                address = int(cuda.runtime.ipcOpenMemHandle(handle.ipc))
            except cuda.errors as error:
                if not processes.alive(handle.pid, handle.start):
                    raise PeerFailure(f"process {handle.pid}, which exported memory, has ended") from error
                raise BackendUnavailable(
                    f"cannot map the device memory of process {handle.pid}: the driver says {error}; ranks must be "
                    "processes of one user on one machine, in one container, on devices that reach each other"
                ) from error
        _foreign[key] = (address, users + 1)
        return address


def unmap_foreign(cuda: Cuda, handle: Handle, index: int) -> None:
    """Drop one use of a mapping; the last one unmaps it. The device is current."""
    with _lock:
        key = _key(handle, index)
        if key in _foreign:
            address, users = _foreign.pop(key)
            if users > 1:
                _foreign[key] = (address, users - 1)
            else:
                with cuda.doing("unmapping memory"):
                    cuda.runtime.ipcCloseMemHandle(address)


def _key(handle: Handle, index: int) -> _Key:
    return (handle.pid, handle.start, handle.uuid, handle.base, index)


def _map_own(cuda: Cuda, handle: Handle, index: int) -> int:
    for segment in _segments.values():
        if (segment.uuid, segment.base, segment.nbytes) == (handle.uuid, handle.base, handle.segment_bytes):
            break
    else:
        raise UsageError("a memory handle of this process that names no memory of it")
    if segment.index == index:
        return segment.base
    if not cuda.runtime.deviceCanAccessPeer(index, segment.index):
        raise BackendUnavailable(
            f"device {index} does not reach the memory of device {segment.index}: no link allows it"
        )
    try:
        cuda.runtime.deviceEnablePeerAccess(segment.index)
    except cuda.runtime.CUDARuntimeError as error:
        if driver.status_of(error) != driver.PEER_ACCESS_ALREADY_ENABLED:
            raise BackendUnavailable(f"device {index} is refused access to device {segment.index}: {error}") from error
    return segment.base
