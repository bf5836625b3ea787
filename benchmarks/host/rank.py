"""One rank of one contender: joins its job, reports to the conductor, and runs what it is told to.

Run by the contender's own launcher, as `python -m benchmarks.host.rank ADAPTER`.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.host.adapters import Adapter, Array, Call, Loop, join, partner
from benchmarks.host.cases import ITEM
from benchmarks.host.control import BINDING_VARIABLE, SOCKET_VARIABLE, Channel, Message

_FILLER = np.float32(1.0)
_PERIOD = 1021
_LEAVING_SECONDS = 20.0


@dataclass
class Prepared:
    """A case that is ready to run: its buffers and its calls."""

    loop: Loop
    dirty: bool
    buffers: tuple[Array, Array]
    """Kept alive: a loop in C has their addresses alone."""


class Rank:
    """What the orders do. Every one is given to all ranks of the contender."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._prepared: dict[str, Prepared] = {}

    def prepare(self, collective: str, size: int, source: str, form: str, kind: str) -> Message:
        """Make buffers and calls, and check that one round of calls gives the right result."""
        adapter = self._adapter
        src, dst = self._buffers(collective, size // ITEM, form == "in_place", kind)
        calls = adapter.calls(collective, src, dst, in_place=form == "in_place", kind=kind)
        for turn, (function, arguments) in enumerate(calls):
            dst[...] = -1
            src[...] = contribution(adapter.rank, 0, src.size)
            function(*arguments)
            want = expected(collective, adapter.rank, adapter.size, dst.size, turn)
            wrong = 0 if want is None else np.count_nonzero(dst != want)
            if wrong:
                return {"wrong": f"{wrong} of {dst.size} elements are wrong on rank {adapter.rank}"}
        src[...] = 0  # sums of sums stay 0: no overflow, however many calls follow
        loop = adapter.loop(kind, src, calls) or self._loop(src, calls)
        self._prepared[kind] = Prepared(loop, source == "dirty", (src, dst))
        return {}

    def _buffers(self, collective: str, count: int, in_place: bool, kind: str) -> tuple[Array, Array]:
        """Source and target of a collective whose larger one has `count` elements."""
        adapter = self._adapter
        whole = adapter.allocate(kind, count)
        if collective in ("all_gather", "reduce_scatter"):
            length = count // adapter.size
            index = adapter.rank if collective == "all_gather" else adapter.scattered_block
            block = whole[index * length : (index + 1) * length] if in_place else adapter.allocate(kind, length)
            return (block, whole) if collective == "all_gather" else (whole, block)
        return whole, whole if in_place else adapter.allocate(kind, count)

    def run(self, kind: str, iterations: int, warmup: int) -> Message:
        """Run a batch: nanoseconds of the calls, and of refilling alone, which was part of it where source is dirty."""
        prepared = self._prepared[kind]
        total, fill = prepared.loop(iterations, warmup, prepared.dirty)
        return {"total": total, "fill": fill}

    def release(self, kind: str) -> Message:
        """Let go of a case's buffers."""
        self._prepared.pop(kind, None)
        return {}

    def _loop(self, source: Array, turns: list[Call]) -> Loop:
        """Calls made from Python, in turn."""

        def run(iterations: int, warmup: int, dirty: bool) -> tuple[int, int]:
            # all ranks warm up with as many calls, so that all are at the same turn
            calls = itertools.cycle(turns)
            for function, arguments in itertools.islice(calls, warmup):
                function(*arguments)
            fill, fill_time = source.fill, 0
            if dirty:
                self._adapter.barrier()
                start = time.perf_counter_ns()
                for _ in range(iterations):
                    fill(_FILLER)
                fill_time = time.perf_counter_ns() - start
            batch = itertools.islice(calls, iterations)
            self._adapter.barrier()
            start = time.perf_counter_ns()
            if dirty:
                for function, arguments in batch:
                    fill(_FILLER)
                    function(*arguments)
            else:
                for function, arguments in batch:
                    function(*arguments)
            return time.perf_counter_ns() - start, fill_time

        return run


def contribution(rank: int, start: int, count: int) -> Array:
    """What a rank puts in from place `start` on: small whole numbers, so that sums are exact in any order.

    They differ between ranks, and with a prime as period no block of a power of two equals another.
    """
    values = ((np.arange(start, start + _PERIOD) * 7 + rank * 13) % _PERIOD).astype(np.float32)
    return np.resize(values, count)


def expected(collective: str, rank: int, ranks: int, count: int, turn: int) -> Array | None:
    """What a rank must find in its `count` elements of output after the call of this turn; None where it has none."""
    block = count // ranks
    match collective:
        case "broadcast":
            return contribution(turn, 0, count)
        case "reduce" if rank != turn:
            return None
        case "send_recv":
            # the even one sends first
            return contribution(partner(rank), 0, count) if turn != rank % 2 else None
        case "all_gather":
            return np.concatenate([contribution(peer, 0, block) for peer in range(ranks)])
        case "all_to_all":
            return np.concatenate([contribution(peer, rank * block, block) for peer in range(ranks)])
        case _:
            start = rank * count if collective == "reduce_scatter" else 0
            period = [contribution(peer, start, _PERIOD) for peer in range(ranks)]
            return np.resize(np.sum(period, axis=0, dtype=np.float32), count)


def bind(rank: int) -> None:
    """Bind the calling thread to a core, the same way in every library; helper threads that there are stay free."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})


def main() -> None:
    """Serve the conductor until it says `quit` or goes away."""
    adapter = join(sys.argv[1])
    if BINDING_VARIABLE in os.environ:
        bind(adapter.rank)
    channel = Channel.connect(os.environ[SOCKET_VARIABLE])
    channel.send({"rank": adapter.rank, "size": adapter.size, "pid": os.getpid(), "version": adapter.version})
    rank = Rank(adapter)
    orders: dict[str, Callable[..., Message]] = {"prepare": rank.prepare, "run": rank.run, "release": rank.release}
    while (order := channel.receive()) is not None:
        name = order.pop("do")
        if name == "quit":
            break
        # the kernel ends this process where a call, deep in a library, does not come back
        signal.setitimer(signal.ITIMER_REAL, order.pop("deadline"))
        try:
            reply = orders[name](**order)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        signal.setitimer(signal.ITIMER_REAL, 0)
        channel.send(reply)
    # leaving may wait for other ranks, which may be stuck
    signal.setitimer(signal.ITIMER_REAL, _LEAVING_SECONDS)
    adapter.close()


if __name__ == "__main__":
    main()
