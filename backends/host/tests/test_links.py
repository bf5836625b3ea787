"""Two lanes that share no memory, over doors of transports that are slow, full, polled, or of another version."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from hal.interface.device import Memory
from hal.interface.dtypes import DType
from hal.interface.errors import NotSupported
from hal.interface.transport import Connection
from hal.plan.builder import PlanBuilder
from hal.plan.layout import Layout
from hal.plan.lower import lower
from hal.plan.model import Plan
from hal_collectives.algorithms import get
from hal_host import _native
from hal_host.links import reads_others
from hal_host.tcp import TcpTransport
from hal_host.tcp_settings import TcpSettings

from .lanes import SECOND, address, decode, executable, on_threads

SCRATCH = 1 << 18
AGAIN = 1

_POST = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *[ctypes.c_uint64] * 5)
_VALUE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *[ctypes.c_uint64] * 3)
_STATUS = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_COUNT = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)
_TEXT = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
_NOTIFY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class Table(ctypes.Structure):
    """`hal_connection` of hal/native/transport.h."""

    _fields_ = [
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
        ("set_notify", _NOTIFY),
        ("notifies", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class Door:
    """A door in front of a connection's own. `full` tells for each post by its number whether the queue is full."""

    def __init__(
        self,
        connection: Connection,
        *,
        full: Callable[[int], bool] = lambda _: False,
        polled: bool = False,
        abi: int = 1,
    ) -> None:
        self.connection = connection
        self.posts = self.polls = 0
        inner = Table.from_address(connection.native())
        at = connection.native()

        def post(name: str) -> Callable[..., int]:
            def call(_: int, *words: int) -> int:
                self.posts += 1
                return AGAIN if full(self.posts) else int(getattr(inner, name)(at, *words))

            return call

        def progress(_: int) -> int:
            self.polls += 1
            return int(inner.progress(at))

        def notify(_: int, function: int, context: int) -> int:
            return 0 if polled else int(inner.set_notify(at, function, context))

        self.table = Table(
            abi,
            ctypes.sizeof(Table),
            _POST(post("put")),
            _VALUE(post("put_value")),
            _POST(post("get")),
            _VALUE(post("atomic_add")),
            _STATUS(progress),
            _COUNT(lambda _: inner.posted(at)),
            _COUNT(lambda _: inner.completed(at)),
            _TEXT(lambda _: inner.error(at)),
            _NOTIFY(notify),
            int(not polled),
            0,
        )


@contextlib.contextmanager
def linked(make: Callable[[Connection], Door]) -> Iterator[tuple[list[_native.Lane], list[Door]]]:
    """Two lanes, each with an arena of its own: its block, and behind it the mirror of the other one's."""
    part = -(-_native.lane_bytes(2, SCRATCH) // 4096) * 4096
    arenas = [_native.Arena(2 * part) for _ in range(2)]
    ends = [TcpTransport(TcpSettings(interface="127.0.0.1")) for _ in range(2)]
    names = [end.endpoint() for end in ends]
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        for end in ends:
            stack.callback(end.close)
        lines = list(pool.map(lambda r: ends[r].connect(names[r], names[1 - r], 20.0), range(2)))
        doors = [make(line) for line in lines]

        def register(rank: int, place: int) -> Any:
            return ends[rank].register(Memory(arenas[rank].base + place, part, None))

        blocks, mirrors = ([register(rank, place) for rank in range(2)] for place in (0, part))
        lanes = []
        for rank, arena in enumerate(arenas):
            link = _native.Link(
                ctypes.addressof(doors[rank].table),
                doors[rank],
                arena.base,
                blocks[rank].handle,
                arena.base + part,
                mirrors[rank].handle,
                lines[rank].resolve(blocks[1 - rank].key),
                lines[rank].resolve(mirrors[1 - rank].key),
            )
            stack.callback(link.detach)
            members = [(arena.base + part * (m != rank), arena.base, os.getpid()) for m in range(2)]
            links = [None if m == rank else link for m in range(2)]
            lanes.append(_native.Lane(rank, members, arena.nbytes, SCRATCH, 0, 20, 100, links))
        yield lanes, doors


def run(
    lanes: list[_native.Lane],
    plan: Plan,
    count: int,
    *,
    times: int = 3,
    seconds: float = 20,
    before: Callable[[int, int], None] = lambda rank, turn: None,
) -> list[Any]:
    """The last status of each rank, after the results of all calls were right. `before` is done before each call."""

    def body(rank: int) -> int:
        program = lower(plan, rank, Layout.uniform(plan, count, 4), DType.INT32)
        call = executable(lanes[rank], decode(lanes[rank], program), count=count, dtype=DType.INT32)
        for turn in range(times):
            x = np.arange(count, dtype=np.int32) * (rank + 1) + turn
            y = np.zeros(count, np.int32)
            before(rank, turn)
            status = call.run(*address(x), *address(y), int(seconds * SECOND))
            if status:
                return status
            assert (y == np.arange(count, dtype=np.int32) * 3 + 2 * turn).all()
        return 0

    return on_threads([lambda rank=rank: body(rank) for rank in range(2)])


NAMES = ["one_phase", "two_phase", "all_pairs_ll", "ring"]


@pytest.mark.parametrize("name", NAMES)
def test_a_queue_that_is_full_two_times_of_three(name: str) -> None:
    with linked(lambda line: Door(line, full=lambda number: number % 3 != 0)) as (lanes, doors):
        assert run(lanes, get("all_reduce", name).build(2), 1000) == [0, 0]
        assert min(door.posts for door in doors) > 10


@pytest.mark.parametrize("name", NAMES)
def test_a_door_that_is_polled(name: str) -> None:
    with linked(lambda line: Door(line, polled=True)) as (lanes, doors):

        def late(rank: int, turn: int) -> None:
            """Each rank comes late to one call, when the other, which waits for it, has polled."""
            end = time.monotonic() + 10
            while turn == rank and not doors[1 - rank].polls and time.monotonic() < end:
                time.sleep(0.001)

        assert run(lanes, get("all_reduce", name).build(2), 1000, before=late) == [0, 0]
        assert min(door.polls for door in doors) > 0


def test_a_queue_that_stays_full_ends_at_the_deadline() -> None:
    with linked(lambda line: Door(line, full=lambda number: number > 20)) as (lanes, _):
        began = time.monotonic()
        statuses = run(lanes, get("all_reduce", "two_phase").build(2), 1000, times=20, seconds=0.3)
        assert statuses == [2, 2]
        assert all(lane.failure()[0] == 1 for lane in lanes)  # a stall
        assert time.monotonic() - began < 5


def test_a_door_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="native door is of version 2"), linked(lambda line: Door(line, abi=2)):
        pass


def test_packets_awaited_in_memory_that_is_not_mapped() -> None:
    p = PlanBuilder("all_gather", name="peeking", ranks=2)
    for rank in p.ranks:
        other = p.ranks[1 - rank.id]
        block = rank.block()
        block.copy([rank.output[rank.id], rank.scratch[0].packets], rank.input[0])
        block.copy(rank.output[other.id], other.scratch[0].packets)
    plan = p.build()
    with pytest.raises(NotSupported, match="'peeking' awaits packets in the memory of other ranks"):
        reads_others(plan)
    program = lower(plan, 0, Layout.uniform(plan, 10, 4), DType.INT32)
    with linked(Door) as (lanes, _), pytest.raises(ValueError, match="not mapped"):
        executable(lanes[0], decode(lanes[0], program), count=10, dtype=DType.INT32)
