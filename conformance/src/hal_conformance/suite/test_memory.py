"""Allocation, copying, filling and sharing of the device's memory."""

from __future__ import annotations

import ctypes
import itertools
import threading
from functools import partial
from typing import Any

import numpy as np
import pytest

from hal.interface.device import Memory
from hal.interface.errors import HalError, PeerFailure, UsageError
from hal_conformance import expect
from hal_conformance.data import random_bytes
from hal_conformance.expect import Resource
from hal_conformance.rank import Rank

clause = pytest.mark.clause
pair = pytest.mark.ranks("pair")

LENGTHS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 129, 255, 256, 257, 1000, 4095, 4096, 4097, 65537]
OFFSETS = [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 63, 64]
ROOM = 70000
GUARD = 0xEE


@clause("HAL-MEM-001")
@pytest.mark.parametrize("nbytes", [1, 2, 255, 256, 257, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_size_and_alignment(rank: Rank, nbytes: int) -> None:
    for _ in range(3):
        memory = rank.device.allocate(nbytes)
        expect.equal(memory.nbytes, nbytes, "the size of memory")
        expect.equal(memory.address % 256, 0, f"address {memory.address:#x} modulo 256")
        expect.true(memory.address != 0, "the address is not zero")


@clause("HAL-MEM-002", "HAL-MEM-008")
def test_memory_does_not_overlap(rank: Rank) -> None:
    held = [rank.allocate(rank.random.choice([1, 100, 256, 4096, 10000])) for _ in range(200)]
    ranges = sorted((memory.address, memory.address + memory.nbytes) for memory in held)
    for before, after in itertools.pairwise(ranges):
        expect.at_most(before[1], after[0], "the end of memory, beside the beginning of the next")
    for number, memory in enumerate(held):
        rank.device.fill(memory.address, number % 256, memory.nbytes)
    for number, memory in enumerate(held):
        expect.equal(rank.read(memory), bytes([number % 256]) * memory.nbytes, f"memory {number} of 200")


@clause("HAL-MEM-008")
def test_memory_holds_while_other_memory_comes_and_goes(rank: Rank) -> None:
    held = [rank.allocate(rank.random.choice([100, 256, 3000, 5000])) for _ in range(100)]
    for turn in range(rank.times(20, 5)):
        for number, memory in enumerate(held):
            rank.device.fill(memory.address, (number + turn) % 256, memory.nbytes)
        for number in range(turn % 2, 100, 2):  # in the gaps that it leaves between the others
            nbytes = held[number].nbytes
            rank.device.free(held[number])
            held[number] = rank.device.allocate(nbytes)
        for number in range(1 - turn % 2, 100, 2):
            wanted = bytes([(number + turn) % 256]) * held[number].nbytes
            expect.equal(rank.read(held[number]), wanted, f"memory {number} of 100 when others came and went")


@clause("HAL-MEM-003")
@pytest.mark.parametrize("nbytes", [0, -1, -4096, -(1 << 62)])
def test_no_bytes_are_refused(rank: Rank, nbytes: int) -> None:
    expect.raises(UsageError, lambda: rank.device.allocate(nbytes), f"allocating {nbytes} bytes")


@clause("HAL-MEM-004")
def test_more_than_there_is(rank: Rank) -> None:
    device = rank.device
    for nbytes in (device.properties.memory + 1, device.properties.memory * 16, 1 << 62):
        expect.raises(UsageError, partial(device.allocate, nbytes), f"allocating {nbytes} bytes")
    memory = rank.allocate(100)
    device.fill(memory.address, 9, 100)
    expect.equal(rank.read(memory), b"\t" * 100, "memory allocated after a refusal")


@clause("HAL-MEM-005")
def test_memory_that_is_freed_comes_back(rank: Rank) -> None:
    device = rank.device
    large = device.properties.memory // 4
    for _ in range(32):
        try:
            memory = device.allocate(large)
        except UsageError as error:
            raise expect.Mismatch(
                "allocating and freeing a quarter of the memory, again", str(error), "memory"
            ) from error
        device.free(memory)
    for _ in range(rank.times(20000, 2000)):
        held = [device.allocate(rank.random.randrange(1, 3000)) for _ in range(3)]
        for memory in held:
            device.free(memory)


@clause("HAL-MEM-006")
def test_freeing_twice(rank: Rank) -> None:
    keep, memory = rank.device.allocate(5000), rank.device.allocate(5000)
    rank.device.free(memory)
    expect.raises(UsageError, lambda: rank.device.free(memory), "freeing twice")
    rank.device.fill(keep.address, 1, 5000)
    expect.equal(rank.read(keep), b"\1" * 5000, "other memory after that")


@clause("HAL-MEM-007")
def test_freeing_what_is_not_there(rank: Rank) -> None:
    memory = rank.allocate(10000)
    ordinary = np.zeros(100, np.uint8)
    for address in (memory.address + 256, int(ordinary.ctypes.data), 0, 1 << 50):
        strange = Memory(address, 100, rank.device)
        expect.raises(UsageError, partial(rank.device.free, strange), f"freeing {address:#x}")


@clause("HAL-MEM-009")
def test_properties(rank: Rank) -> None:
    properties = rank.device.properties
    expect.true(properties.name.strip(), "the device has a name", properties.name)
    expect.true(properties.memory > 0, "the device has memory", properties.memory)
    expect.true(properties.compute_units >= 1, "the device has a compute unit", properties.compute_units)


@clause("HAL-MEM-010")
def test_threads_share_a_device(rank: Rank) -> None:
    device, errors = rank.device, []
    rounds = rank.times(500, 100)

    def work(number: int) -> None:
        try:
            for turn in range(rounds):
                memory = device.allocate(1 + (number * 7919 + turn * 104729) % 9000)
                value = (number * 31 + turn) % 256
                device.fill(memory.address, value, memory.nbytes)
                expect.equal(rank.read(memory), bytes([value]) * memory.nbytes, f"memory of thread {number}")
                device.free(memory)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for error in errors:
        raise error


@clause("HAL-MEM-011")
def test_close_frees_everything(rank: Rank) -> None:
    large = rank.device.properties.memory // 4
    for _ in range(12):
        device = rank.open_device()
        memory = device.allocate(large)
        device.import_memory(device.export_memory(memory))
        device.create_stream()
        device.close()
        device.close()


@clause("HAL-MEM-012", "HAL-MEM-018")
@pytest.mark.parametrize("offset", OFFSETS)
def test_copy_copies_exactly(rank: Rank, offset: int) -> None:
    source, target = rank.allocate(ROOM), rank.allocate(ROOM)
    data = random_bytes(rank.random, ROOM)
    rank.write(source, data)
    for nbytes in LENGTHS:
        at = rank.random.choice(OFFSETS)
        rank.device.fill(target.address, GUARD, ROOM)
        rank.device.copy(target.address + at, source.address + offset, nbytes)
        wanted = np.full(ROOM, GUARD, np.uint8)
        wanted[at : at + nbytes] = data[offset : offset + nbytes]
        seen = np.frombuffer(rank.read(target), np.uint8)
        expect.same_bits(seen, wanted, f"{nbytes} bytes copied from offset {offset} to {at}")


@clause("HAL-MEM-013")
@pytest.mark.parametrize("nbytes", [1, 3, 64, 4097, 1_000_003])
def test_ordinary_memory_is_copied_from_and_to(rank: Rank, nbytes: int) -> None:
    data = random_bytes(rank.random, nbytes)
    memory = rank.allocate(nbytes + 100)
    for offset in (0, 1, 31):
        rank.device.copy(memory.address + offset, int(data.ctypes.data), nbytes)
        back = np.zeros(nbytes, np.uint8)
        rank.device.copy(int(back.ctypes.data), memory.address + offset, nbytes)
        expect.same_bits(back, data, f"{nbytes} bytes to the device and back")


@clause("HAL-MEM-014", "HAL-MEM-018")
@pytest.mark.parametrize("offset", OFFSETS)
def test_fill_fills_exactly(rank: Rank, offset: int) -> None:
    memory = rank.allocate(ROOM)
    for number, nbytes in enumerate(LENGTHS):
        value = (number * 37) % 256
        rank.device.fill(memory.address, GUARD, ROOM)
        rank.device.fill(memory.address + offset, value, nbytes)
        wanted = np.full(ROOM, GUARD, np.uint8)
        wanted[offset : offset + nbytes] = value
        expect.same_bits(np.frombuffer(rank.read(memory), np.uint8), wanted, f"{nbytes} bytes filled at {offset}")


@clause("HAL-MEM-015")
def test_zero_bytes_do_nothing(rank: Rank) -> None:
    memory = rank.to_device(np.arange(200, dtype=np.uint8))
    rank.device.copy(memory.address, memory.address + 100, 0)
    rank.device.fill(memory.address + 1, 77, 0)
    expect.equal(rank.read(memory), bytes(range(200)), "memory after copying and filling nothing")


@clause("HAL-MEM-016", "HAL-STR-013")
@pytest.mark.parametrize("enqueued", [False, True])
def test_negative_lengths(rank: Rank, enqueued: bool) -> None:
    memory = rank.allocate(100)
    stream = rank.stream() if enqueued else None
    for nbytes in (-1, -(1 << 40)):
        copy = partial(rank.device.copy, memory.address, memory.address + 50, nbytes, stream)
        fill = partial(rank.device.fill, memory.address, 0, nbytes, stream)
        expect.raises(UsageError, copy, f"copying {nbytes} bytes")
        expect.raises(UsageError, fill, f"filling {nbytes} bytes")


@clause("HAL-MEM-017", "HAL-STR-013")
@pytest.mark.parametrize("enqueued", [False, True])
@pytest.mark.parametrize("value", [-1, 256, 1 << 20])
def test_a_value_that_is_no_byte(rank: Rank, value: int, enqueued: bool) -> None:
    memory = rank.to_device(np.full(64, 3, np.uint8))
    stream = rank.stream() if enqueued else None
    expect.raises(UsageError, lambda: rank.device.fill(memory.address, value, 64, stream), f"filling with {value}")
    if stream is not None:
        stream.synchronize(30)
    expect.equal(rank.read(memory), b"\3" * 64, "memory after the refusal")


@clause("HAL-MEM-019")
def test_the_cpu_reaches_the_memory(rank: Rank) -> None:
    memory = rank.allocate(5000)
    data = random_bytes(rank.random, 5000)
    ctypes.memmove(memory.address, data.tobytes(), 5000)
    expect.equal(rank.read(memory), data.tobytes(), "what the CPU has stored")
    rank.device.fill(memory.address, 0x5A, 5000)
    expect.equal(ctypes.string_at(memory.address, 5000), b"\x5a" * 5000, "what the CPU loads")


# sharing


def _shared(rank: Rank, nbytes: int) -> tuple[Memory, Memory]:
    """Memory of this rank, and that of the other one, imported."""
    own = rank.allocate(nbytes)
    handles = rank.exchange(rank.device.export_memory(own))
    return own, rank.device.import_memory(handles[1 - rank.id])


@clause("HAL-MEM-020", "HAL-MEM-021")
@pair
@pytest.mark.parametrize("nbytes", [1, 4096, 5000, 1_000_001])
def test_imported_memory_is_the_same_memory(rank: Rank, nbytes: int) -> None:
    own, other = _shared(rank, nbytes)
    expect.equal(other.nbytes, nbytes, "the size of imported memory")
    for turn in range(4):
        if turn % 2 == rank.id:
            rank.device.fill(other.address, 10 + turn, nbytes)
        rank.exchange()
        if turn % 2 != rank.id:
            expect.equal(rank.read(own), bytes([10 + turn]) * nbytes, "what the other rank has stored to its import")
            rank.device.fill(own.address, 90 + turn, nbytes)
        rank.exchange()
        if turn % 2 == rank.id:
            expect.equal(rank.read(other), bytes([90 + turn]) * nbytes, "what the owner has stored to its memory")
        rank.exchange()


@clause("HAL-MEM-020")
@pair
def test_parts_of_the_memory_are_told_apart(rank: Rank) -> None:
    first, own, last = rank.allocate(3000), rank.allocate(3000), rank.allocate(3000)
    for memory, value in ((first, 1), (own, 2 + rank.id), (last, 4)):
        rank.device.fill(memory.address, value, 3000)
    handles = rank.exchange(rank.device.export_memory(own))
    other = rank.device.import_memory(handles[1 - rank.id])
    expect.equal(rank.read(other), bytes([3 - rank.id]) * 3000, "the one memory among three that was exported")
    rank.exchange()


@clause("HAL-MEM-022", "HAL-MEM-023")
@pair
def test_several_imports(rank: Rank) -> None:
    own = rank.allocate(2000)
    rank.device.fill(own.address, 20 + rank.id, 2000)
    handle = rank.exchange(rank.device.export_memory(own))[1 - rank.id]
    imports = [rank.device.import_memory(handle) for _ in range(3)]
    for number, memory in enumerate(imports):
        for left in imports[number:]:
            expect.equal(rank.read(left), bytes([21 - rank.id]) * 2000, f"an import when {number} were freed")
        rank.device.free(memory)
    rank.exchange()
    expect.equal(rank.read(own), bytes([20 + rank.id]) * 2000, "the owner's memory when all imports were freed")
    expect.raises(UsageError, lambda: rank.device.free(imports[-1]), "freeing an import twice")


@clause("HAL-MEM-024")
def test_the_own_memory_is_imported(rank: Rank) -> None:
    own = rank.to_device(random_bytes(rank.random, 3000))
    imported = rank.device.import_memory(rank.device.export_memory(own))
    expect.equal(rank.read(imported), rank.read(own), "the own memory, imported")


@clause("HAL-MEM-025")
def test_what_is_no_handle(rank: Rank) -> None:
    handle = rank.device.export_memory(rank.device.allocate(100))
    strange = [b"", b"\0", b"no handle", handle[:-1], handle + b"\0", handle[1:], handle * 2, bytes(len(handle))]
    strange += [rank.random.randbytes(rank.random.randrange(200)) for _ in range(rank.times(300, 50))]
    for data in strange:
        expect.raises(UsageError, partial(rank.device.import_memory, data), f"importing {data!r}")


@clause("HAL-MEM-026")
def test_altered_handles(rank: Rank) -> None:
    handle = rank.device.export_memory(rank.device.allocate(5000))
    for _ in range(rank.times(2000, 200)):
        altered = bytearray(handle)
        for _ in range(rank.random.randrange(1, 4)):
            altered[rank.random.randrange(len(handle))] = rank.random.randrange(256)
        try:
            imported = rank.device.import_memory(bytes(altered))
        except HalError:
            continue
        rank.device.free(imported)


@clause("HAL-MEM-027")
@pytest.mark.ranks("pair", forms=("processes",))
def test_the_owner_has_ended(rank: Rank) -> None:
    handles = rank.exchange(rank.device.export_memory(rank.allocate(5000)))
    if rank.id == 1:
        rank.die()
    error = _import_of_the_dead(rank, handles[1])
    expect.true(isinstance(error, PeerFailure), "importing what a process that has ended exported", error)


def _import_of_the_dead(rank: Rank, handle: bytes) -> Any:
    """The error of the first import that is not from a process still on its way out."""
    for _ in range(600):
        try:
            rank.device.free(rank.device.import_memory(handle))
        except HalError as error:
            return error
        threading.Event().wait(0.01)
    return "it was imported"


@clause("HAL-MEM-028")
@pair
def test_what_cannot_be_exported(rank: Rank) -> None:
    own, other = _shared(rank, 1000)
    if not rank.threads:  # in one process an import may be the memory itself
        expect.raises(UsageError, lambda: rank.device.export_memory(other), "exporting an import")
    rank.exchange()
    rank.device.free(own)
    expect.raises(UsageError, lambda: rank.device.export_memory(own), "exporting freed memory")
    part = Memory(rank.allocate(1000).address + 256, 100, rank.device)
    expect.raises(UsageError, lambda: rank.device.export_memory(part), "exporting a part")
    rank.exchange()


@clause("HAL-MEM-029")
def test_handles_are_short(rank: Rank) -> None:
    handle = rank.device.export_memory(rank.device.allocate(1 << 20))
    expect.true(isinstance(handle, bytes), "a handle is bytes", type(handle).__name__)
    expect.at_most(len(handle), 1024, "bytes of a handle")


@clause("HAL-MEM-004")
def test_a_device_that_is_full_goes_on(rank: Rank) -> None:
    device, held = rank.device, []
    part = max(1, device.properties.memory // 16)
    for _ in range(64):
        try:
            held.append(device.allocate(part))
        except UsageError:
            break
    else:
        raise Resource("the device has far more memory than it says")
    expect.true(held, "some memory was there")
    device.free(held.pop())
    device.free(device.allocate(part))
