"""Timing every algorithm that serves a collective: in turn, in rounds, on the ranks of one job."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hal.config import Algorithms
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import HalError
from hal.interface.executor import Executable
from hal.plan.collective import Collective
from hal_collectives.algorithms import algorithms
from hal_collectives.calls import Calls
from hal_collectives.communicator import Communicator

ITEM = DType.FLOAT32.itemsize
TIMEOUT = 30.0
"""Seconds, for one call."""


@dataclass(frozen=True)
class Pace:
    """How long to measure: `rounds` in which every algorithm has a batch of some `batch` seconds, one call at least."""

    rounds: int = 9
    batch: float = 0.002


@dataclass
class Timing:
    """Microseconds a call of each algorithm, medians over the rounds, for messages of `nbytes` on `ranks` ranks.

    `mapped`: buffers of registered memory, where algorithms that reach others' buffers take part. `nbytes` are those of
    the larger buffer.
    """

    collective: str
    ranks: int
    nbytes: int
    mapped: bool
    microseconds: dict[str, float] = field(default_factory=dict)


def measure(comm: Communicator, collectives: Sequence[str], sizes: Sequence[int], pace: Pace) -> list[Timing]:
    """Every rank calls it, and every rank gets the times, of the slowest rank."""
    found = []
    for label in collectives:
        collective = Collective.of(label)
        size = 2 if collective is Collective.SEND_RECV else comm.size
        for nbytes in sizes:
            blocks = max(max(collective.blocks(size, rank, _root(collective))) for rank in range(size))
            count = max(1, nbytes // (ITEM * blocks)) if blocks else 0
            for mapped in (True, False):
                timing = Timing(label, size, blocks * count * ITEM, mapped)
                timing.microseconds = _time(comm, collective, size, count, mapped, pace)
                if timing.microseconds:
                    found.append(timing)
    return found


def _time(
    comm: Communicator, collective: Collective, size: int, count: int, mapped: bool, pace: Pace
) -> dict[str, float]:
    executables = {}
    for algorithm in algorithms(collective):
        if algorithm.supports(size) and (mapped or not algorithm.mapped):
            chosen: dict[str, Any] = {collective.label: algorithm.name}
            pins = Algorithms(**chosen)
            try:
                executables[algorithm.name] = _load(comm, Calls(comm.caller.group, pins), collective, count)
            except HalError:  # such as one that needs more scratch than there is; alike on all ranks
                continue
    pair = collective is Collective.SEND_RECV
    if pair and comm.rank > 1:
        executables = dict.fromkeys(executables)
    send, receive = (n * count * ITEM for n in collective.blocks(size, comm.rank % size, _root(collective)))
    source, target = (
        comm.empty(max(n, 1), np.uint8) if mapped else np.empty(max(n, 1), np.uint8) for n in (send, receive)
    )
    source[:] = 0
    ends = (source.ctypes.data if send else 0, send, target.ctypes.data if receive else 0, receive)
    rounds: dict[str, list[float]] = {name: [] for name in executables}
    calls = dict.fromkeys(executables, 1)
    for turn in range(-2, pace.rounds):
        for name, executable in executables.items():
            seconds = _slowest(comm, _batch(comm, executable, ends, calls[name])) / calls[name]
            if turn < 0:  # the first rounds warm up, and say how many calls make a batch
                calls[name] = max(1, int(pace.batch / seconds))
            else:
                rounds[name].append(seconds * 1e6)
    return {name: statistics.median(each) for name, each in rounds.items()}


def _load(comm: Communicator, calls: Calls, collective: Collective, count: int) -> Executable | None:
    if collective is Collective.SEND_RECV:
        if comm.rank > 1:
            return None
        return calls.get(collective, count, DType.FLOAT32, ReduceOp.SUM, None, pair=(0, 1))
    return calls.get(collective, count, DType.FLOAT32, ReduceOp.SUM, _root(collective))


def _root(collective: Collective) -> int | None:
    return 0 if collective.rooted else None


def _batch(comm: Communicator, executable: Executable | None, ends: tuple[int, int, int, int], calls: int) -> float:
    comm.barrier()
    start = time.perf_counter()
    if executable is not None:
        for _ in range(calls):
            executable.run(*ends, TIMEOUT)
    return time.perf_counter() - start


def _slowest(comm: Communicator, seconds: float) -> float:
    return float(comm.all_reduce(np.array([seconds]), op="max")[0])
