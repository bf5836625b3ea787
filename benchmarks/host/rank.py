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

from benchmarks.host.adapters import Adapter, Array, Call, join
from benchmarks.host.cases import ITEM
from benchmarks.host.control import BINDING_VARIABLE, SOCKET_VARIABLE, Channel, Message

_FILLER = np.float32(1.0)
_PERIOD = 1021
_LEAVING_SECONDS = 20.0


@dataclass
class Prepared:
    """A case that is ready to run: its buffers and its calls."""

    source: Array
    calls: list[Call]
    dirty: bool


class Rank:
    """What the orders do. Every one is given to all ranks of the contender."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._prepared: dict[str, Prepared] = {}

    def prepare(self, collective: str, size: int, source: str, kind: str) -> Message:
        """Make buffers and calls, and check that one round of calls gives the right result."""
        adapter, count = self._adapter, size // ITEM
        if collective in ("all_reduce", "broadcast"):
            src = dst = adapter.allocate(kind, count)
        else:
            block = count // adapter.size
            src = adapter.allocate(kind, block if collective == "all_gather" else count)
            dst = adapter.allocate(kind, block if collective == "reduce_scatter" else count)
        calls = adapter.calls(collective, src, dst)
        for root, (function, arguments) in enumerate(calls):
            dst[...] = -1
            src[...] = contribution(adapter.rank, 0, src.size)
            function(*arguments)
            wrong = np.count_nonzero(dst != expected(collective, adapter.rank, adapter.size, dst.size, root))
            if wrong:
                return {"wrong": f"{wrong} of {dst.size} elements are wrong on rank {adapter.rank}"}
        src[...] = 0  # sums of sums stay 0: no overflow, however many calls follow
        self._prepared[kind] = Prepared(src, calls, source == "dirty")
        return {}

    def run(self, kind: str, iterations: int, warmup: int) -> Message:
        """Run a batch: nanoseconds of the calls, and of refilling alone, which was part of it where source is dirty."""
        prepared = self._prepared[kind]
        # whole turns of the roots, so that warming up leaves all ranks at the same one
        calls = itertools.cycle(prepared.calls)
        for function, arguments in itertools.islice(calls, warmup):
            function(*arguments)
        fill, fill_time = prepared.source.fill, 0
        if prepared.dirty:
            self._adapter.barrier()
            start = time.perf_counter_ns()
            for _ in range(iterations):
                fill(_FILLER)
            fill_time = time.perf_counter_ns() - start
        batch = itertools.islice(calls, iterations)
        self._adapter.barrier()
        start = time.perf_counter_ns()
        if prepared.dirty:
            for function, arguments in batch:
                fill(_FILLER)
                function(*arguments)
        else:
            for function, arguments in batch:
                function(*arguments)
        return {"total": time.perf_counter_ns() - start, "fill": fill_time}

    def release(self, kind: str) -> Message:
        """Let go of a case's buffers."""
        self._prepared.pop(kind, None)
        return {}


def contribution(rank: int, start: int, count: int) -> Array:
    """What a rank puts in from place `start` on: small whole numbers, so that sums are exact in any order.

    They differ between ranks, and with a prime as period no block of a power of two equals another.
    """
    values = ((np.arange(start, start + _PERIOD) * 7 + rank * 13) % _PERIOD).astype(np.float32)
    return np.resize(values, count)


def expected(collective: str, rank: int, ranks: int, count: int, root: int) -> Array:
    """What a rank must find in its `count` elements of output."""
    block = count // ranks
    match collective:
        case "broadcast":
            return contribution(root, 0, count)
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
