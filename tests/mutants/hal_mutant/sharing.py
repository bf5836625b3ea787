"""Exporting and importing memory."""

from __future__ import annotations

import os
import signal

from hal.interface.device import Memory
from hal.interface.errors import HalError, PeerFailure, TransportError, UsageError
from hal.runtime.heap import PAGE
from hal_host.segment import Handle
from hal_host.settings import HostSettings
from hal_mutant.catalogue import breaks
from hal_mutant.parts import Device

PADDING = bytes(2000)


@breaks("HAL-MEM-020", "A stale import: what is imported is a copy of what the memory held.")
class StaleImport(Device):
    def import_memory(self, handle: bytes) -> Memory:
        memory = super().import_memory(handle)
        copy = self.allocate(memory.nbytes)
        self.copy(copy.address, memory.address, memory.nbytes)
        return copy


@breaks("HAL-MEM-021", "Imported memory is as long as its pages.")
class ImportsPages(Device):
    def import_memory(self, handle: bytes) -> Memory:
        memory = super().import_memory(handle)
        return Memory(memory.address, -(-memory.nbytes // PAGE) * PAGE, self)


@breaks("HAL-MEM-022", "Freeing one import of a handle frees the others too.")
class FreesAllImports(Device):
    def free(self, memory: Memory) -> None:
        for _ in self._imported.get(memory.address, [])[1:]:
            super().free(memory)
        super().free(memory)


@breaks("HAL-MEM-023", "Freeing an import clears the memory of its owner.")
class FreeingClears(Device):
    def free(self, memory: Memory) -> None:
        if self._imported.get(memory.address):
            self.fill(memory.address, 0, memory.nbytes)
        super().free(memory)


@breaks("HAL-MEM-024", "What this process has exported itself is refused.")
class RefusesItsOwn(Device):
    def import_memory(self, handle: bytes) -> Memory:
        if Handle.unpack(handle).pid == os.getpid():
            raise UsageError("it is here already")
        return super().import_memory(handle)


@breaks("HAL-MEM-025", "Bytes that are no handle are an error of the language.")
class HandleOfNothing(Device):
    def import_memory(self, handle: bytes) -> Memory:
        if len(handle) < 8:
            raise IndexError("too short")
        return super().import_memory(handle)


@breaks("HAL-MEM-026", "A handle that was altered crashes the process.")
class CrashesOnHandles(Device):
    def import_memory(self, handle: bytes) -> Memory:
        try:
            return super().import_memory(handle)
        except HalError:
            if handle.startswith(b"HALHOST1"):
                signal.raise_signal(signal.SIGSEGV)
            raise


@breaks("HAL-MEM-027", "The wrong class of error where the owner of a handle has ended.")
class OwnerUnreachable(Device):
    def import_memory(self, handle: bytes) -> Memory:
        try:
            return super().import_memory(handle)
        except PeerFailure as error:
            raise TransportError(error.message) from None


@breaks("HAL-MEM-028", "Memory that was exported once is exported again when it is freed.")
class ExportsTheFreed(Device):
    def __init__(self, settings: HostSettings) -> None:
        super().__init__(settings)
        self.handles: dict[int, bytes] = {}

    def export_memory(self, memory: Memory) -> bytes:
        if memory.address not in self.handles:
            self.handles[memory.address] = super().export_memory(memory)
        return self.handles[memory.address]


@breaks("HAL-MEM-029", "A handle has two thousand bytes too many.")
class LongHandles(Device):
    def export_memory(self, memory: Memory) -> bytes:
        return super().export_memory(memory) + PADDING

    def import_memory(self, handle: bytes) -> Memory:
        if not handle.endswith(PADDING):
            raise UsageError("no handle")
        return super().import_memory(handle[: -len(PADDING)])
