"""The runtime API: device memory is memory of this machine that other processes can map, a stream is a thread."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import mmap
import os
import queue
import struct
import threading
import time
from types import SimpleNamespace

is_hip = False
DEVICES = int(os.environ.get("DOUBLE_DEVICES", "1"))
MEMORY = 1 << 36
_NAMES = {1: "cudaErrorInvalidValue: invalid argument", 2: "cudaErrorMemoryAllocation: out of memory",
          35: "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
          100: "cudaErrorNoDevice: no CUDA-capable device is detected", 101: "cudaErrorInvalidDevice: invalid device",
          400: "cudaErrorInvalidResourceHandle: invalid resource handle", 600: "cudaErrorNotReady: not ready",
          704: "cudaErrorPeerAccessAlreadyEnabled: peer access is already enabled"}  # fmt: skip


class CUDARuntimeError(RuntimeError):
    def __init__(self, status):
        self.status = status
        super().__init__(_NAMES.get(status, f"status {status}"))


_local = threading.local()
_ranges: dict[int, tuple] = {}  # base: length, type, device, mmap, descriptor
_numbers = itertools.count(0x7000, 8)
_peers: set[tuple[int, int]] = set()
_lock = threading.RLock()


def _fail(status):
    raise CUDARuntimeError(status)


def driverGetVersion():
    return int(os.environ.get("DOUBLE_DRIVER", "12080"))


def runtimeGetVersion():
    return 12080


def getDeviceCount():
    return DEVICES if DEVICES else _fail(100)


def getDevice():
    return getattr(_local, "device", 0)


def setDevice(index):
    _local.device = index if 0 <= index < DEVICES else _fail(101)


def getDeviceProperties(index):
    if not 0 <= index < DEVICES:
        _fail(101)
    return {"name": b"a double", "major": 8, "minor": 0, "multiProcessorCount": 16, "totalGlobalMem": MEMORY,
            "uuid": hashlib.sha256(b"double%d" % _physical(index)).digest()[:16]}  # fmt: skip


def _physical(index):
    order = os.environ.get("CUDA_VISIBLE_DEVICES")
    return int(order.split(",")[index]) if order else index


def deviceGetAttribute(attribute, index):
    return {1: 1024, 41: 1}[attribute]  # threads a block, unified addressing


def deviceCanAccessPeer(index, peer):
    return int(os.environ.get("DOUBLE_NO_PEERS") is None)


def deviceEnablePeerAccess(peer):
    pair = getDevice(), peer
    if pair in _peers:
        _fail(704)
    _peers.add(pair)


def _map(descriptor, length, kind, device):
    held = mmap.mmap(descriptor, length)
    address = ctypes.addressof(ctypes.c_char.from_buffer(held))
    _ranges[address] = (length, kind, device, held, descriptor)
    return address


def malloc(nbytes):
    if nbytes > MEMORY:
        _fail(2)
    descriptor = os.memfd_create("double-device-memory")
    os.ftruncate(descriptor, nbytes)
    return _map(descriptor, -(-nbytes // 4096) * 4096, 2, getDevice())


def hostAlloc(nbytes, flags):
    return _map(-1, nbytes, 1, getDevice())


def freeHost(address):
    _ranges.pop(address)


def ipcGetMemHandle(address):
    length, _, device, _, descriptor = _ranges[address]
    return struct.pack("=qqqq", os.getpid(), descriptor, length, device).ljust(64, b"\0")


def ipcOpenMemHandle(handle, flags=1):
    assert len(handle) == 64
    pid, descriptor, length, device = struct.unpack_from("=qqqq", handle)
    assert pid != os.getpid(), "CUDA maps no handle of the process itself"
    try:
        opened = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDWR)
    except OSError:
        _fail(400)
    address = _map(opened, length, 2, device)
    os.close(opened)
    return address


def ipcCloseMemHandle(address):
    held = _ranges.pop(address)[3]
    ctypes.CDLL(None).munmap(ctypes.c_void_p(address), ctypes.c_size_t(_length(held)))


def _length(held):
    return len(held)


def pointerGetAttributes(address):
    for base, (length, kind, device, *_) in list(_ranges.items()):
        if base <= address < base + length:
            return SimpleNamespace(type=kind, device=device, devicePointer=address, hostPointer=address)
    return SimpleNamespace(type=0, device=-2, devicePointer=0, hostPointer=0)


class _Stream:
    def __init__(self, device):
        self.device, self.tasks, self.pending = device, queue.SimpleQueue(), 0
        self.capture = None
        self.condition = threading.Condition()
        self.worker = None

    def enqueue(self, work):
        if self.capture is not None:
            self.capture.append(work)
            return
        with self.condition:
            self.pending += 1
            if self.worker is None:
                self.worker = threading.Thread(target=self.serve, daemon=True)
                self.worker.start()
        self.tasks.put(work)

    def serve(self):
        while (work := self.tasks.get()) is not None:
            work()
            with self.condition:
                self.pending -= 1
                self.condition.notify_all()

    def drain(self):
        with self.condition:
            self.condition.wait_for(lambda: not self.pending)


_streams = {0: _Stream(0)}


def _stream(handle):
    return _streams.get(handle) or _fail(400)


def streamCreateWithFlags(flags):
    assert flags == 1
    handle = next(_numbers)
    _streams[handle] = _Stream(getDevice())
    return handle


def streamDestroy(handle):
    _streams.pop(handle).tasks.put(None)


def streamSynchronize(handle):
    _stream(handle).drain()


def streamQuery(handle):
    return 600 if _stream(handle).pending else 0


def memcpyAsync(dst, src, nbytes, kind, stream):
    assert kind == 4
    for address in (dst, src):
        if not address or address >> 47:
            _fail(1)
    if pointerGetAttributes(src).type == 0:  # pageable memory is read before the call returns
        data = ctypes.string_at(src, nbytes)
        _stream(stream).enqueue(lambda: ctypes.memmove(dst, data, nbytes))
    else:
        _stream(stream).enqueue(lambda: ctypes.memmove(dst, src, nbytes))
    if pointerGetAttributes(dst).type == 0 and _stream(stream).capture is None:
        _stream(stream).drain()


def memsetAsync(at, value, nbytes, stream):
    if not at or at >> 47:
        _fail(1)
    _stream(stream).enqueue(lambda: ctypes.memset(at, value, nbytes))


class _Mark:
    def __init__(self):
        self.reached, self.at = threading.Event(), 0.0


_events: dict[int, _Mark | None] = {}


def eventCreate():
    handle = next(_numbers)
    _events[handle] = None
    return handle


def eventCreateWithFlags(flags):
    return eventCreate()


def eventDestroy(event):
    _events.pop(event)


def eventRecord(event, stream):
    mark = _events[event] = _Mark()

    def reach():
        mark.at = time.perf_counter()
        mark.reached.set()

    _stream(stream).enqueue(reach)


def eventQuery(event):
    mark = _events[event]
    return 0 if mark is None or mark.reached.is_set() else 600


def eventElapsedTime(start, end):
    return (_events[end].at - _events[start].at) * 1e3


def streamWaitEvent(stream, event, flags=0):
    mark = _events[event]
    if mark is not None:
        _stream(stream).enqueue(mark.reached.wait)


_graphs: dict[int, list] = {}


def streamBeginCapture(stream, mode=2):
    _stream(stream).capture = []


def streamIsCapturing(stream):
    return _stream(stream).capture is not None


def streamEndCapture(stream):
    handle = next(_numbers)
    _graphs[handle], _stream(stream).capture = _stream(stream).capture, None
    return handle


def graphInstantiate(graph):
    handle = next(_numbers)
    _graphs[handle] = list(_graphs[graph])
    return handle


def graphDestroy(graph):
    del _graphs[graph]


graphExecDestroy = graphDestroy


def graphLaunch(graph, stream):
    for work in _graphs[graph]:
        _stream(stream).enqueue(work)
