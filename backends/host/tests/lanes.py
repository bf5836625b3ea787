"""Lanes of ranks in this process, without a group around them."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any

import numpy as np

from hal.interface.dtypes import DType, ReduceOp
from hal.plan.layout import Layout
from hal.plan.lower import Program, lower
from hal.plan.model import Plan
from hal_host import _native

SECOND = 10**9


class Lanes:
    """All members of one lane. `first_launch` is the number of the launch before their first."""

    def __init__(
        self, size: int, *, first_launch: int = 0, scratch: int = 1 << 16, spin: int = 20, roams: bool = True
    ) -> None:
        part = -(-_native.lane_bytes(size, scratch) // 4096) * 4096
        self.arena = _native.Arena(size * part + (1 << 20))
        self.free = self.arena.base + size * part
        members = [(self.arena.base + rank * part, self.arena.base, os.getpid()) for rank in range(size)]
        self.lanes = [
            _native.Lane(rank, members, self.arena.nbytes, scratch, first_launch, spin, 100, roams=roams)
            for rank in range(size)
        ]

    def scratch(self, rank: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Both halves of a member's scratch, and both of packets."""
        lane = self.lanes[rank]
        size, nbytes = lane.size, lane.scratch_bytes
        part = -(-_native.lane_bytes(size, nbytes) // 4096) * 4096
        begin = self.arena.base + rank * part + _native.lane_bytes(size, nbytes) - 4 * nbytes
        return np.frombuffer(memoryview((ctypes.c_uint8 * (4 * nbytes)).from_address(begin)), np.uint8)

    def packets(self, rank: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Both halves of a member's scratch for packets."""
        return self.scratch(rank)[2 * self.lanes[rank].scratch_bytes :]

    def load(self, rank: int, plan: Plan, count: int, dtype: DType = DType.INT32, **changes: Any) -> _native.Executable:
        """A plan for one member."""
        program = lower(plan, rank, Layout.uniform(plan, count, dtype.itemsize), dtype, ReduceOp.SUM)
        return executable(self.lanes[rank], decode(self.lanes[rank], program, **changes), count=count, dtype=dtype)


def decode(lane: _native.Lane, program: Program, **changes: Any) -> _native.Program:
    """Load a lowered program, or what it is with some of its parts replaced."""
    values: dict[str, Any] = {
        "blocks": program.blocks,
        "semaphores": program.semaphores,
        "dtype": int(program.dtype),
        "slots": program.channel_slots,
        "maps_input": program.maps_input,
        "maps_output": program.maps_output,
        "in_place": program.plan.in_place,
        "scratch_reach": lane.scratch_bytes if program.scratch_reach is None else program.scratch_reach,
    }
    return _native.Program(lane, **{**values, **changes})


def executable(lane: _native.Lane, program: _native.Program, *, count: int, dtype: DType) -> _native.Executable:
    return _native.Executable(lane, 0, int(dtype), 0, -1, count, 1, program)


def address(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Address and bytes of an array."""
    return array.ctypes.data, array.nbytes


def on_threads(bodies: list[Any]) -> list[Any]:
    """Run all at once; what each returned or raised."""
    results: list[Any] = [None] * len(bodies)

    def run(rank: int) -> None:
        try:
            results[rank] = bodies[rank]()
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return results
