"""System V shared memory, and that nothing of it is left behind.

A segment outlives its processes, until it is marked for removal and nobody has it attached. So it is marked as soon as
its maker has attached it: from then on the kernel removes it with the last process that uses it, however that ends.
Linux lets others attach it by its id all the same, as long as somebody has it attached.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import struct
import weakref
from dataclasses import dataclass

from hal.interface.errors import BackendUnavailable, HalError, UsageError

HEAD = 4096
"""Bytes of a segment that are its own: what it is, and words of whoever made it."""
WORDS = 64
"""Where the words of whoever made it begin."""

_PRIVATE, _CREATE, _NO_RESERVE, _REMOVE, _STATUS = 0, 0o1000, 0o10000, 0, 2
_MAGIC = b"hal-sysv"
_IDENTITY = struct.Struct("=8s16sQ")
_OWNER, _SIZE = struct.Struct("=4xI"), struct.Struct("=48xQ")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
_libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
_libc.shmat.restype = ctypes.c_void_p
_libc.shmdt.argtypes = [ctypes.c_void_p]
_libc.shmctl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
_FAILED = ctypes.c_void_p(-1).value


class GoneError(HalError):
    """The segment is no more: nobody had it attached."""


@dataclass(frozen=True)
class Name:
    """What another process needs to attach a segment: its id, and the token by which it is known to be that one."""

    id: int
    token: bytes
    size: int
    """Bytes, the head included."""


class Segment:
    """A segment, attached here at `base`. It is detached by `detach`, or when nobody refers to this any more."""

    def __init__(self, name: Name, base: int) -> None:
        self.name = name
        self.base = base
        self._detach = weakref.finalize(self, _libc.shmdt, base)
        self._detach.atexit = False  # the end of the process detaches all, and daemon threads may still use it

    def detach(self) -> None:
        """Detach it; the memory is gone when nobody has it attached. Twice is allowed."""
        self._detach()

    def word(self, at: int) -> ctypes.c_uint64:
        """The 8-byte word at an offset, to be read and written in place."""
        return ctypes.c_uint64.from_address(self.base + at)

    def view(self, at: int, nbytes: int) -> memoryview:
        """Bytes of it, in place."""
        return memoryview((ctypes.c_uint8 * nbytes).from_address(self.base + at)).cast("B")


def create(nbytes: int) -> Segment:
    """A fresh segment with room for `nbytes` behind its head, all zero; `BackendUnavailable` where there is none."""
    size = HEAD + -(-nbytes // 4096) * 4096
    # between this call and the removal lie some microseconds, in which a SIGKILL would leave an empty segment
    number = _libc.shmget(_PRIVATE, size, _CREATE | _NO_RESERVE | 0o600)
    if number < 0:
        raise BackendUnavailable(f"no shared memory of {size} bytes: {os.strerror(ctypes.get_errno())}")
    base = _libc.shmat(number, None, 0)
    code = ctypes.get_errno()
    _libc.shmctl(number, _REMOVE, None)
    if base == _FAILED:
        raise BackendUnavailable(f"shared memory of {size} bytes cannot be attached: {os.strerror(code)}")
    name = Name(number, secrets.token_bytes(16), size)
    ctypes.memmove(base, _IDENTITY.pack(_MAGIC, name.token, size), _IDENTITY.size)
    return Segment(name, base)


def attach(name: Name) -> Segment:
    """Attach what another process has made. `GoneError` where it is no more, `UsageError` for another name."""
    status = ctypes.create_string_buffer(256)
    if _libc.shmctl(name.id, _STATUS, status) < 0:
        raise _refusal(name, ctypes.get_errno())
    # the id may be anybody's: of this user, and as long as it says, so that it can be read at all
    if _OWNER.unpack_from(status)[0] != os.geteuid() or _SIZE.unpack_from(status)[0] != name.size:
        raise UsageError(f"the shared memory {name.id} is none of this backend")
    base = _libc.shmat(name.id, None, 0)
    if base == _FAILED:
        raise _refusal(name, ctypes.get_errno())
    if ctypes.string_at(base, _IDENTITY.size) != _IDENTITY.pack(_MAGIC, name.token, name.size):
        _libc.shmdt(base)
        raise UsageError(f"the shared memory {name.id} is none of this backend")
    return Segment(name, base)


def _refusal(name: Name, code: int) -> HalError:
    if code in (errno.EINVAL, errno.EIDRM):
        return GoneError(f"the shared memory {name.id} is no more")
    return UsageError(f"the shared memory {name.id} cannot be attached: {os.strerror(code)}")
