"""Allocating, copying and filling memory."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from functools import partial

from hal.interface.device import Memory, Stream
from hal.interface.errors import UsageError
from hal_host.settings import HostSettings
from hal_mutant.catalogue import breaks
from hal_mutant.parts import Device

SHIFT = 128


@breaks("HAL-MEM-001", "Memory is aligned to 128 bytes.")
class LessAligned(Device):
    def allocate(self, nbytes: int) -> Memory:
        return Memory(super().allocate(nbytes + SHIFT).address + SHIFT, nbytes, self)

    def free(self, memory: Memory) -> None:
        super().free(Memory(memory.address - SHIFT, memory.nbytes + SHIFT, self))


@breaks("HAL-MEM-002", "Small pieces of memory are all the same piece.")
class SamePiece(Device):
    piece: Memory | None = None

    def allocate(self, nbytes: int) -> Memory:
        if not 0 < nbytes <= 256:
            return super().allocate(nbytes)
        if self.piece is None:
            self.piece = super().allocate(256)
        return Memory(self.piece.address, nbytes, self)


@breaks("HAL-MEM-003", "Asking for no bytes gives one.")
class GivesOne(Device):
    def allocate(self, nbytes: int) -> Memory:
        return super().allocate(1 if nbytes == 0 else nbytes)


@breaks("HAL-MEM-004", "Where there is not enough memory, the error is the language's.")
class NoMemoryError(Device):
    def allocate(self, nbytes: int) -> Memory:
        if nbytes > self.properties.memory:
            raise MemoryError
        return super().allocate(nbytes)


@breaks("HAL-MEM-005", "What is freed is not given back.")
class NothingComesBack(Device):
    def free(self, memory: Memory) -> None:
        if self._allocated.pop(memory.address, None) is None:
            super().free(memory)


@breaks("HAL-MEM-006", "Freeing twice is accepted.")
class FreedTwice(Device):
    def __init__(self, settings: HostSettings) -> None:
        super().__init__(settings)
        self.freed: set[int] = set()

    def free(self, memory: Memory) -> None:
        with contextlib.suppress(UsageError) if memory.address in self.freed else contextlib.nullcontext():
            super().free(memory)
        self.freed.add(memory.address)


@breaks("HAL-MEM-007", "Freeing what was never there is accepted.")
class FreesAnything(Device):
    def __init__(self, settings: HostSettings) -> None:
        super().__init__(settings)
        self.known: set[int] = set()

    def allocate(self, nbytes: int) -> Memory:
        memory = super().allocate(nbytes)
        self.known.add(memory.address)
        return memory

    def free(self, memory: Memory) -> None:
        with contextlib.nullcontext() if memory.address in self.known else contextlib.suppress(UsageError):
            super().free(memory)


@breaks("HAL-MEM-008", "Allocating memory clears what lies behind it.")
class ClearsTooMuch(Device):
    def allocate(self, nbytes: int) -> Memory:
        memory = super().allocate(nbytes)
        super().fill(memory.address, 0, -(-nbytes // 256) * 256 + 64)
        return memory


@breaks("HAL-MEM-009", "A device has no compute units.")
class NoUnits(Device):
    @property
    def properties(self):  # type: ignore[no-untyped-def]  # the annotation would be the longest line here
        told = super().properties
        return type(told)(told.name, told.index, told.memory, 0, told.details)


@breaks("HAL-MEM-010", "All threads copy by way of one place, and none waits for the other.")
class SharedStaging(Device):
    def __init__(self, settings: HostSettings) -> None:
        super().__init__(settings)
        self.staging = ctypes.create_string_buffer(1 << 16)

    def copy(self, dst: int, src: int, nbytes: int, stream: Stream | None = None) -> None:
        if stream is not None or not 0 < nbytes <= 1 << 16:
            super().copy(dst, src, nbytes, stream)
            return
        ctypes.memmove(self.staging, src, nbytes)
        time.sleep(0)
        ctypes.memmove(dst, self.staging, nbytes)


@breaks("HAL-MEM-011", "Closing a device frees nothing.")
class ClosesLeaving(Device):
    def close(self) -> None:
        self._allocated.clear()
        super().close()


@breaks("HAL-MEM-012", "Off by one at the tail: copying in words of eight bytes leaves out a last one of seven.")
class CopyWithoutTail(Device):
    def copy(self, dst: int, src: int, nbytes: int, stream: Stream | None = None) -> None:
        super().copy(dst, src, nbytes - (nbytes > 7 and nbytes % 8 == 7), stream)


@breaks("HAL-MEM-013", "Ordinary memory is copied to in words of four bytes.")
class WordsOfOrdinaryMemory(Device):
    def copy(self, dst: int, src: int, nbytes: int, stream: Stream | None = None) -> None:
        arena = self._segment.arena
        ordinary = not arena.base <= dst < arena.base + arena.nbytes
        super().copy(dst, src, nbytes // 4 * 4 if ordinary and nbytes > 0 else nbytes, stream)


@breaks("HAL-MEM-014", "Filling goes on to the end of the word.")
class FillsWords(Device):
    def fill(self, dst: int, value: int, nbytes: int, stream: Stream | None = None) -> None:
        super().fill(dst, value, -(-nbytes // 4) * 4, stream)


@breaks("HAL-MEM-015", "Copying nothing is refused.")
class RefusesNothing(Device):
    def copy(self, dst: int, src: int, nbytes: int, stream: Stream | None = None) -> None:
        if nbytes == 0:
            raise UsageError("nothing to copy")
        super().copy(dst, src, nbytes, stream)


@breaks("HAL-MEM-016", "A negative length is taken for none.")
class NegativeIsNone(Device):
    def copy(self, dst: int, src: int, nbytes: int, stream: Stream | None = None) -> None:
        super().copy(dst, src, max(nbytes, 0), stream)


@breaks("HAL-MEM-017", "Of a value that is no byte the low bits are used.")
class LowBits(Device):
    def fill(self, dst: int, value: int, nbytes: int, stream: Stream | None = None) -> None:
        super().fill(dst, value & 0xFF, nbytes, stream)


@breaks("HAL-MEM-018", "Filling without a stream is done a moment later.")
class FillsLater(Device):
    def fill(self, dst: int, value: int, nbytes: int, stream: Stream | None = None) -> None:
        if stream is not None or not 0 <= value <= 255 or nbytes < 0:
            super().fill(dst, value, nbytes, stream)
        else:
            threading.Timer(0.002, partial(super().fill, dst, value, nbytes)).start()
