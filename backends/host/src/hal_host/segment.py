"""The shared memory of this process, and its maps of other processes' memory.

Each process has one arena, made when it is first needed; all devices, ranks and communicators of the process allocate
from it. A handle names the owner's process and descriptor, so that nothing has a name in the file system: the memory
is gone with the last process that maps it, however that ends.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
from dataclasses import dataclass

from hal.interface.errors import BackendUnavailable, PeerFailure, UsageError
from hal.runtime.heap import PAGE, Heap, HeapFull
from hal_host import _native

_HANDLE = struct.Struct("<8sQQQQQQQ")
_MAGIC = b"HALHOST2"
_DISCARD = 1 << 20
"""From here on, freed memory goes back to the system at once."""


@dataclass(frozen=True)
class Handle:
    """What an exported range is called between processes."""

    pid: int
    fd: int
    inode: int
    arena_bytes: int
    offset: int
    nbytes: int
    base: int
    """Where the segment begins in the owner's process."""

    def pack(self) -> bytes:
        """As bytes."""
        where = (self.arena_bytes, self.offset, self.nbytes, self.base)
        return _HANDLE.pack(_MAGIC, self.pid, self.fd, self.inode, *where)

    @classmethod
    def unpack(cls, data: bytes) -> Handle:
        """From bytes; `UsageError` where they are no handle."""
        if len(data) != _HANDLE.size or not data.startswith(_MAGIC):
            raise UsageError(f"{len(data)} bytes that are no memory handle of the host backend")
        handle = cls(*_HANDLE.unpack(data)[1:])
        if handle.nbytes > handle.arena_bytes or handle.offset > handle.arena_bytes - handle.nbytes:
            raise UsageError("a memory handle whose range lies outside its segment")
        if max(handle.pid, handle.fd) > 2**31 - 1:
            raise UsageError("a memory handle with an impossible process or descriptor")
        return handle


class Segment:
    """This process's arena and the allocations in it."""

    def __init__(self, nbytes: int) -> None:
        try:
            self.arena = _native.Arena(nbytes)
        except OSError as error:
            raise BackendUnavailable(
                f"the host backend cannot map {nbytes} bytes of shared memory: {error.strerror}; "
                "set host.segment_size to less, or raise the limit on address space (ulimit -v)"
            ) from None
        self.heap = Heap(nbytes)
        self.pid = os.getpid()

    def allocate(self, nbytes: int, *, zero: bool = False) -> int:
        """The address of new memory, of undefined content or, with `zero`, of zeros on pages of its own."""
        try:
            offset = self.heap.allocate(nbytes, PAGE if zero or nbytes >= PAGE else 256)
        except HeapFull as error:
            raise UsageError(f"out of shared memory: {error}; host.segment_size sets how much there is") from None
        if zero:
            self.arena.discard(offset, -(-nbytes // PAGE) * PAGE)
        return self.arena.base + offset

    def free(self, address: int) -> None:
        """Give back what `allocate` returned; `KeyError` where nothing is allocated there."""
        offset = address - self.arena.base
        length = self.heap.length(offset)
        if length >= _DISCARD and os.getpid() == self.pid:
            self.arena.discard(offset, length)  # while nobody else can have been given it
        self.heap.free(offset)

    def handle(self, address: int, nbytes: int) -> Handle:
        """The handle of a range of this arena."""
        arena = self.arena
        return Handle(self.pid, arena.fd, arena.inode, arena.nbytes, address - arena.base, nbytes, arena.base)


_lock = threading.RLock()  # finalizers unmap
_segment: Segment | None = None
_inherited: list[Segment] = []
"""A parent's segments: arrays in them came with the fork, and stay readable."""
_foreign: dict[tuple[int, int], tuple[_native.Arena, int]] = {}
"""Other processes' arenas mapped here, by pid and inode, with the number of users."""


def own(nbytes: int) -> Segment:
    """This process's segment, made now if there is none; a child of a fork makes its own."""
    global _segment
    with _lock:
        if _segment is None or _segment.pid != os.getpid():
            if _segment is not None:
                _inherited.append(_segment)
            _segment = Segment(nbytes)
        return _segment


def map_foreign(handle: Handle) -> int:
    """The address at which the arena of `handle` begins here. Each call wants one `unmap_foreign`."""
    with _lock:
        if handle.pid == os.getpid() and _segment is not None and handle.inode == _segment.arena.inode:
            return _segment.arena.base
        key = (handle.pid, handle.inode)
        arena, users = _foreign.get(key, (None, 0))
        if arena is None:
            try:
                arena = _native.Arena(handle.pid, handle.fd, handle.inode, handle.arena_bytes)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ESTALE, errno.ESRCH, errno.ENXIO):
                    raise PeerFailure(f"process {handle.pid}, which exported memory, has ended or freed it") from None
                if error.errno in (errno.EINVAL, errno.EFBIG, errno.EOVERFLOW):
                    raise UsageError("a memory handle that does not fit the segment that it names") from None
                raise BackendUnavailable(
                    f"cannot map the memory of process {handle.pid}: {error.strerror}; ranks must be processes of one "
                    "user on one machine that see each other under /proc"
                ) from None
        _foreign[key] = (arena, users + 1)
        return arena.base


def unmap_foreign(handle: Handle) -> None:
    """Drop one use of a mapping; the last one unmaps it."""
    with _lock:
        key = (handle.pid, handle.inode)
        if key in _foreign:
            arena, users = _foreign.pop(key)
            if users > 1:
                _foreign[key] = (arena, users - 1)
