"""Transports: put, get, atomic add, flush, and the order on one connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from hal.interface.errors import NotSupported, StallTimeout, TransportError, UsageError
from hal.interface.transport import Connection, Registration, Transport
from hal_conformance import data, expect
from hal_conformance.rank import TIMEOUT, Rank

clause = pytest.mark.clause
pair = pytest.mark.ranks("pair")
lacks = pytest.mark.lacks

ROOM = 1 << 17
LENGTHS = (1, 2, 3, 4, 7, 8, 63, 64, 65, 1000, 4095, 4096, 4097, 50_000)


class Line:
    """A connection between two ranks: this rank's memory, registered, and what is needed to reach the other's."""

    def __init__(self, rank: Rank, nbytes: int = ROOM) -> None:
        self.rank = rank
        self.transport: Transport = rank.transport
        self.own = rank.ordinary(nbytes)
        self.registration: Registration = self.transport.register(self.own.memory)
        self.key = rank.exchange(self.registration.key)[1 - rank.id]
        self.connection = self.another()

    def another(self) -> Connection:
        """One more connection to the same rank."""
        endpoint = self.transport.endpoint()
        peer = self.rank.exchange(endpoint)[1 - self.rank.id]
        return self.transport.connect(endpoint, peer, TIMEOUT)

    @property
    def array(self) -> data.Array:
        """The own memory."""
        return self.own.array

    def wait_for(self, holds: Callable[[], bool], what: str) -> None:
        """Look at the own memory until something holds there."""
        deadline = time.monotonic() + TIMEOUT
        while not holds():
            expect.true(time.monotonic() < deadline, what)
            time.sleep(0)


def _reads(counter: Any, least: int, most: int | None = None) -> bool:
    """Whether a counter has reached a value, and has not passed another."""
    value = int(counter[0])
    return value >= least and (most is None or value <= most)


@clause("HAL-TRN-001", "HAL-TRN-002", "HAL-TRN-003")
@pair
def test_put(rank: Rank) -> None:
    line = Line(rank)
    for nbytes in LENGTHS:
        for offset, remote in ((0, 0), (1, 3), (64, 128)):
            messages = [data.random_bytes(rank.random, nbytes) for _ in range(2)]
            line.array[:] = 0xEE
            line.array[offset : offset + nbytes] = messages[rank.id]
            before = line.array[: ROOM // 2].copy()
            rank.exchange()
            start = ROOM // 2 + remote
            line.connection.put(line.key, start, line.registration, offset, nbytes)
            line.connection.flush(TIMEOUT)
            line.array[offset : offset + nbytes] = 0xDD  # it may be written again
            rank.exchange()
            wanted = np.full(ROOM, 0xEE, np.uint8)
            wanted[: ROOM // 2] = before
            wanted[offset : offset + nbytes] = 0xDD
            wanted[start : start + nbytes] = messages[1 - rank.id]
            expect.same_bits(line.array, wanted, f"the memory after a put of {nbytes} bytes from {offset}")
            rank.exchange()


@clause("HAL-TRN-004")
@pair
def test_order(rank: Rank) -> None:
    """Puts of a message and then of its number: where the number is seen, the message is there."""
    line = Line(rank, 8192)
    line.array[:] = 0
    rank.exchange()
    for turn in range(1, rank.times(500, 100)):
        if turn % 2 == rank.id:
            line.array[4096:8000] = turn % 256
            line.array[8000:8008].view(np.uint64)[0] = turn
            line.connection.put(line.key, 0, line.registration, 4096, 3904)
            line.connection.put(line.key, 3904, line.registration, 8000, 8)
            line.connection.flush(TIMEOUT)
        else:
            counter = line.array[3904:3912].view(np.uint64)
            line.wait_for(partial(_reads, counter, turn, turn), f"message {turn} arrives")
            wanted = np.full(3904, turn % 256, np.uint8)
            expect.same_bits(line.array[:3904].copy(), wanted, f"message {turn} when its number was there")
    rank.exchange()  # who has read the last one stays until its writer has flushed it


@clause("HAL-TRN-004", "HAL-TRN-006")
@pair
def test_put_then_signal(rank: Rank) -> None:
    line = Line(rank, 8192)
    line.array[:] = 0
    rank.exchange()
    for turn in range(1, rank.times(500, 100)):
        if turn % 2 == rank.id:
            line.array[4096:8000] = turn % 256
            line.connection.put(line.key, 0, line.registration, 4096, 3904)
            line.connection.atomic_add(line.key, 4000, 1)
            line.connection.flush(TIMEOUT)
        else:
            counter = line.array[4000:4008].view(np.uint64)
            line.wait_for(partial(_reads, counter, (turn + 1) // 2), f"signal {turn} arrives")
            wanted = np.full(3904, turn % 256, np.uint8)
            expect.same_bits(line.array[:3904].copy(), wanted, f"the message before signal {turn}")
        rank.exchange()


@clause("HAL-TRN-005")
@pair
def test_get(rank: Rank) -> None:
    line = Line(rank)
    for nbytes in LENGTHS:
        messages = [data.random_bytes(rank.random, nbytes) for _ in range(2)]
        line.array[:] = 0xEE
        line.array[:nbytes] = messages[rank.id]
        rank.exchange()
        line.connection.get(line.key, 0, line.registration, ROOM // 2 + 1, nbytes)
        line.connection.flush(TIMEOUT)
        seen = line.array[ROOM // 2 + 1 : ROOM // 2 + 1 + nbytes].copy()
        expect.same_bits(seen, messages[1 - rank.id], f"{nbytes} bytes that were gotten")
        expect.equal(int(line.array[ROOM // 2]), 0xEE, "the byte before them")
        expect.equal(int(line.array[ROOM // 2 + 1 + nbytes]), 0xEE, "the byte after them")
        rank.exchange()


@clause("HAL-TRN-006")
@pair
def test_atomic_add(rank: Rank) -> None:
    line = Line(rank, 4096)
    lines = [line.connection, *(line.another() for _ in range(3))]
    counters = line.array[:64].view(np.uint64)
    counters[:] = [0, 2**64 - 5, 7, 0, 0, 0, 0, 0]
    rank.exchange()
    rounds = rank.times(500, 100)
    for turn in range(rounds):
        lines[turn % 4].atomic_add(line.key, 0, 1)
        lines[turn % 4].atomic_add(line.key, 8, 3)
    for connection in lines:
        connection.flush(TIMEOUT)
    rank.exchange()
    expect.equal(int(counters[0]), rounds, "a counter that was added to by several connections")
    expect.equal(int(counters[1]), (2**64 - 5 + 3 * rounds) % 2**64, "a counter that has wrapped around")
    expect.equal(int(counters[2]), 7, "the counter beside them")
    rank.exchange()


@clause("HAL-TRN-007")
@pair
@pytest.mark.parametrize(
    "operation", [pytest.param("get", marks=lacks("get")), pytest.param("atomic_add", marks=lacks("atomic_add"))]
)
def test_what_is_not_declared_is_refused(rank: Rank, operation: str) -> None:
    line = Line(rank, 4096)
    if operation == "get":
        expect.raises(NotSupported, lambda: line.connection.get(line.key, 0, line.registration, 0, 8), "get")
    else:
        expect.raises(NotSupported, lambda: line.connection.atomic_add(line.key, 0, 1), "atomic_add")
    line.connection.put(line.key, 0, line.registration, 0, 8)
    line.connection.flush(TIMEOUT)
    rank.exchange()


@clause("HAL-TRN-008")
@pair
def test_nothing_is_transferred(rank: Rank) -> None:
    line = Line(rank, 4096)
    line.array[:] = rank.id
    rank.exchange()
    line.connection.put(line.key, 0, line.registration, 4096, 0)
    line.connection.put(line.key, 4096, line.registration, 0, 0)
    line.connection.flush(TIMEOUT)
    line.connection.flush(TIMEOUT)
    rank.exchange()
    expect.same_bits(line.array, np.full(4096, rank.id, np.uint8), "memory after puts of nothing")


@clause("HAL-TRN-009")
@pair
def test_nobody_connects(rank: Rank) -> None:
    endpoint = rank.transport.endpoint()
    peer = rank.exchange(endpoint)[1 - rank.id]
    if rank.id == 0:
        expect.raises(StallTimeout, lambda: rank.transport.connect(endpoint, peer, 0.3), "connecting with nobody")
    rank.exchange()


@clause("HAL-TRN-010")
@pair
def test_closing_twice(rank: Rank) -> None:
    line = Line(rank, 4096)
    rank.exchange()
    for what in (line.connection, line.registration, line.transport):
        what.close()
        what.close()


@clause("HAL-TRN-011")
@pair
def test_memory_that_was_withdrawn(rank: Rank) -> None:
    line = Line(rank, 4096)
    if rank.id == 1:
        line.registration.close()
    rank.exchange()
    if rank.id == 0:

        def put() -> None:
            line.connection.put(line.key, 0, line.registration, 0, 100)
            line.connection.flush(TIMEOUT)

        expect.raises(TransportError, put, "a put to memory that was withdrawn")
    rank.exchange()


@clause("HAL-TRN-012")
@pair
def test_ranges_outside(rank: Rank) -> None:
    line = Line(rank, 4096)
    for offset, nbytes in ((0, 4097), (4096, 1), (-1, 1), (0, -1)):
        put = partial(line.connection.put, line.key, 0, line.registration, offset, nbytes)
        expect.raises(UsageError, put, f"a put of {nbytes} bytes from {offset} of 4096")
    rank.exchange()
