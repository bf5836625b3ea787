"""What is exported, as bytes. They may come back as anything, so that everything in them is checked."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from hal.interface.errors import UsageError
from hal_sysv.process import Process
from hal_sysv.segment import HEAD, Name

_MAGIC = b"hal-sysv-memory1"
_FIELDS = struct.Struct("=16sI16sQQQIQ")
_CHECK = struct.Struct("=I")


@dataclass(frozen=True)
class Handle:
    """A range of a segment, and the process whose memory it is."""

    segment: Name
    offset: int
    nbytes: int
    owner: Process

    def pack(self) -> bytes:
        """The bytes of it."""
        name = self.segment
        fields = (name.id, name.token, name.size, self.offset, self.nbytes, self.owner.pid, self.owner.began)
        body = _FIELDS.pack(_MAGIC, *fields)
        return body + _CHECK.pack(zlib.crc32(body))


def unpack(data: bytes) -> Handle:
    """Read a handle; `UsageError` where the bytes are none."""
    if not isinstance(data, bytes) or len(data) != _FIELDS.size + _CHECK.size or not data.startswith(_MAGIC):
        raise UsageError("the bytes are no handle of the backend sysv")
    body = data[: _FIELDS.size]
    if _CHECK.pack(zlib.crc32(body)) != data[_FIELDS.size :]:
        raise UsageError("the handle of the backend sysv was altered")
    _, number, token, size, offset, nbytes, pid, began = _FIELDS.unpack(body)
    if number >= 1 << 31 or not nbytes or not HEAD <= offset <= size or nbytes > size - offset:
        raise UsageError("the handle of the backend sysv names memory that cannot be")
    return Handle(Name(number, token, size), offset, nbytes, Process(pid, began))
