"""The native door, which executors post through: data in order under pressure, and what fails is said in time."""

from __future__ import annotations

import contextlib
import ctypes
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from hal_ib.wire import Key

from .pairs import FAST, TIMEOUT, End, needs_device, pair, settings

pytestmark = [pytest.mark.slow, needs_device]
AGAIN, FAILED, BAD_RANGE = 1, -1, -2
SIZES = (0, 1, 7, 8, 63, 64, 65, 4096, 4097, (1 << 20) + 3, 1 << 24)

_POST = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *[ctypes.c_uint64] * 5)
_VALUE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *[ctypes.c_uint64] * 3)
_STATUS = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_COUNT = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)
_TEXT = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)


class Table(ctypes.Structure):
    """The beginning of `hal_connection` in hal/native/transport.h."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("abi", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("put", _POST),
        ("put_value", _VALUE),
        ("get", _POST),
        ("atomic_add", _VALUE),
        ("progress", _STATUS),
        ("posted", _COUNT),
        ("completed", _COUNT),
        ("error", _TEXT),
    ]


class Door:
    """The door of an end's connection, to the memory of the other end."""

    def __init__(self, own: End, key: bytes) -> None:
        self.at = own.connection.native()
        self.table = Table.from_address(self.at)
        self.remote = own.connection.resolve(key)
        self.local = own.registration.handle

    def again(self, name: str, *arguments: int) -> int:
        """Post, as often as the queue is full; the last status."""
        end = time.monotonic() + TIMEOUT
        while (status := getattr(self.table, name)(self.at, *arguments)) == AGAIN and time.monotonic() < end:
            self.table.progress(self.at)
        return int(status)

    def put(self, to: int, at: int, nbytes: int) -> int:
        return self.again("put", self.remote, to, self.local, at, nbytes)

    def get(self, to: int, at: int, nbytes: int) -> int:
        return self.again("get", self.remote, to, self.local, at, nbytes)

    def value(self, to: int, value: int) -> int:
        return self.again("put_value", self.remote, to, value)

    def drain(self, timeout: float = TIMEOUT) -> bool:
        """Whether all that was posted is complete within the time."""
        posted, end = self.table.posted(self.at), time.monotonic() + timeout
        while self.table.completed(self.at) < posted:
            if self.table.progress(self.at) < 0 or time.monotonic() > end:
                return False
        return True

    @property
    def error(self) -> str | None:
        said = self.table.error(self.at)
        return None if said is None else said.decode()


@contextlib.contextmanager
def door(
    nbytes: int = 1 << 16, key: Callable[[bytes], bytes] = bytes, **chosen: Any
) -> Iterator[tuple[Door, End, End]]:
    with pair(settings("native", **chosen), nbytes) as (a, b):
        yield Door(a, key(b.key)), a, b


@pytest.mark.parametrize("queues", [1, 2])
def test_sizes(queues: int) -> None:
    room = max(SIZES) + 128
    with door(room, queues=queues) as (through, a, b):
        for nbytes in SIZES:
            data = random.Random(nbytes).randbytes(nbytes)
            a.write(64, data)
            b.write(0, b"\xee" * (nbytes + 128))
            assert through.put(64, 64, nbytes) == 0
            assert through.drain()
            assert b.read(0, nbytes + 128) == b"\xee" * 64 + data + b"\xee" * 64
            a.write(64, bytes(nbytes))
            assert through.get(64, 64, nbytes) == 0
            assert through.drain()
            assert a.read(64, nbytes) == data


@pytest.mark.parametrize("queues", [1, 3])
def test_values_come_after_what_was_put_before_them(queues: int) -> None:
    """Under load: messages in a ring of places, each with its number after it, through short queues."""
    count, size, places = 400, 1024, 16
    with door(size * (places + 1) + 8, queues=queues, stripe_size=4096, queue_depth=8) as (through, a, b):
        seen = 0
        for turn in range(1, count + 1):
            place = turn % places * size
            if turn > places:  # until the peer has seen what lies there
                while seen < turn - places:
                    seen = b.counter(size * (places + 1))
                    through.table.progress(through.at)
            a.write(place, turn.to_bytes(8, "little") * (size // 8))
            assert through.put(place, place, size) == 0
            assert through.value(size * (places + 1), turn) == 0
            now = b.counter(size * (places + 1))
            if now:  # what the number stands for is there
                there = now % places * size
                assert int.from_bytes(b.read(there + size - 8, 8), "little") >= now
        assert through.drain()
        assert b.counter(size * (places + 1)) == count


def test_atomic_additions() -> None:
    with door() as (through, _, b):
        for _ in range(300):
            assert through.again("atomic_add", through.remote, 8, 5) == 0
        assert through.drain()
        assert b.counter(8) == 1500


def test_what_is_out_of_range_is_not_posted() -> None:
    with door(4096) as (through, _, _):
        for to, at, nbytes in ((0, 0, 4097), (4096, 0, 1), (0, 4096, 1), (2**64 - 8, 0, 16)):
            assert through.put(to, at, nbytes) == BAD_RANGE
        assert through.value(4090, 1) == BAD_RANGE
        assert through.again("put", through.remote + 1, 0, through.local, 0, 8) == BAD_RANGE
        assert through.again("put", through.remote, 0, through.local + 1000, 0, 8) == BAD_RANGE
        assert through.table.posted(through.at) == 0
        assert through.put(0, 0, 4096) == 0
        assert through.drain()


def test_a_wrong_key() -> None:
    def altered(key: bytes) -> bytes:
        right = Key.unpack(key)
        return Key(right.rkey ^ 0x5A5A, right.address, right.nbytes).pack()

    with door(key=altered) as (through, _, _):
        assert through.put(0, 0, 100) == 0
        assert not through.drain()
        assert through.error
        assert through.put(0, 0, 100) == FAILED


def test_a_queue_pair_in_the_error_state() -> None:
    with door() as (through, a, _):
        a.connection.link.break_it()
        assert through.put(0, 0, 100) in (0, FAILED)
        assert not through.drain()
        assert through.error
        assert through.put(0, 0, 100) == FAILED


def test_a_peer_that_has_gone_is_noticed_while_nothing_is_under_way() -> None:
    """By the message of nothing that `progress` sends now and then."""
    with door(**FAST) as (through, _, b):
        b.transport.close()
        end = time.monotonic() + 30
        while through.table.progress(through.at) == 0 and time.monotonic() < end:
            time.sleep(0.01)
        assert through.error
        assert through.put(0, 0, 100) == FAILED


def test_a_full_queue_says_so_at_once() -> None:
    with door(queue_depth=4, ack_timeout="2s") as (through, _, b):
        b.connection.close()
        said = [through.table.put(through.at, through.remote, 0, through.local, 0, 100) for _ in range(6)]
        assert said[:4] == [0] * 4
        assert said[4:] == [AGAIN] * 2
        assert not through.drain(0.3)


def test_a_door_that_is_closed() -> None:
    with door() as (through, a, _):
        a.connection.close()
        assert through.put(0, 0, 8) == FAILED
        assert through.error == "the connection was closed here"
