"""A device of one process's memory, which misbehaves as the environment variable DOUBLE_FAULT says."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

from hal.interface.capability import Capability
from hal.interface.device import Device, DeviceProperties, Event, Memory, Stream
from hal.interface.errors import NotSupported, UsageError

MEMORY = 1 << 26


class DoubleDevice(Device):
    """Memory, and nothing else."""

    def __init__(self) -> None:
        self._held: dict[int, object] = {}
        self._used = 0
        self._fault = os.environ.get("DOUBLE_FAULT", "")

    @property
    def properties(self) -> DeviceProperties:
        return DeviceProperties("a double", 0, MEMORY, 1)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.HOST_MAPPED})

    def allocate(self, nbytes: int) -> Memory:
        match self._fault:
            case "hang":
                Path(os.environ.get("DOUBLE_MARK", os.devnull)).touch()
                time.sleep(600)
            case "stuck":  # in native code that never lets go of the interpreter
                Path(os.environ.get("DOUBLE_MARK", os.devnull)).touch()
                ctypes.PyDLL(None).sleep(600)
            case "crash":
                ctypes.string_at(0)
            case "exit":
                os._exit(3)
            case "raise":
                raise LookupError("of the double's own")
            case "interrupt":
                sys.exit("the end")
            case "unsupported":
                raise NotSupported("not today")
        if not 0 < nbytes <= MEMORY - self._used:
            raise UsageError(f"{nbytes} bytes")
        raw = ctypes.create_string_buffer(nbytes + 256)
        address = ctypes.addressof(raw)
        if self._fault != "alignment":
            address += -address % 256
        self._held[address] = raw
        return Memory(address, nbytes, self)

    def free(self, memory: Memory) -> None:
        if self._held.pop(memory.address, None) is None:
            raise UsageError("nothing is there")

    def copy(self, dst: int, src: int, nbytes: int, stream: Stream | None = None) -> None:
        if nbytes < 0:
            raise UsageError(f"{nbytes} bytes")
        ctypes.memmove(dst, src, nbytes)

    def fill(self, dst: int, value: int, nbytes: int, stream: Stream | None = None) -> None:
        if nbytes < 0 or not 0 <= value <= 255:
            raise UsageError(f"{nbytes} bytes of {value}")
        ctypes.memset(dst, value, nbytes - (self._fault == "tail" and 64 < nbytes < 1000))

    def export_memory(self, memory: Memory) -> bytes:
        raise NotSupported("the double shares no memory")

    def import_memory(self, handle: bytes) -> Memory:
        raise NotSupported("the double shares no memory")

    def create_stream(self) -> Stream:
        raise NotSupported("the double has no streams")

    def create_event(self) -> Event:
        raise NotSupported("the double has no events")

    def close(self) -> None:
        self._held.clear()
