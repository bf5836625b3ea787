"""What copy engines do behind port channels, as a program: `python -m tests.gpu.engines WHAT SIZE`.

The backend is the environment's. Ranks are threads, or one rank is this process (WHAT begins with "rank"). Every rank
posts a block of its input to every other and sums what it got, of integers: the results are exact.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hal.gpu import engine
from hal.interface.dtypes import DType
from hal.interface.errors import HalError
from hal_collectives import Communicator, DeviceArray, init, run_local

from ..collectives import plans

prepared = threading.Barrier(2)
COUNTS = (1, 7, 301, 5000, (1 << 18) + 3)
ODD = 5003
"""Elements of a block of which the doubles' faults are told."""


class Exchange:
    """The plan for blocks of `count` elements, from and to arrays that begin `shift` elements into their memory."""

    def __init__(self, comm: Communicator, count: int, dtype: type[Any] = np.int32, shift: int = 0) -> None:
        self.comm, self.count, self.shift = comm, count, shift
        self.source, self.target = comm.empty(comm.size * count + shift, dtype), comm.empty(count + shift, dtype)
        assert isinstance(self.source, DeviceArray)
        self.dtype, self.itemsize = dtype, np.dtype(dtype).itemsize
        self.executable = comm.caller.group.load(plans.ports(comm.size), count, DType.of(np.dtype(dtype)))

    def values(self, rank: int, turn: int) -> Any:
        """The input of a rank."""
        length = self.comm.size * self.count + self.shift
        return (np.arange(length) * (rank + 2) + turn).astype(self.dtype)

    @property
    def arguments(self) -> tuple[int, int, int, int]:
        """Where the two arrays are."""
        skipped = self.shift * self.itemsize
        sides = ((x.address + skipped, x.nbytes - skipped) for x in (self.source, self.target))
        return tuple(number for side in sides for number in side)  # type: ignore[return-value]

    def give(self, turn: int) -> None:
        """Fill the input, and the output with what is wrong."""
        self.source.copy_from(self.values(self.comm.rank, turn))
        self.comm.device.fill(self.target.address, 85, self.target.nbytes)

    def check(self, turn: int) -> None:
        """That the output is right, and nothing before it was written."""
        begin = self.shift + self.comm.rank * self.count
        block = slice(begin, begin + self.count)
        right = np.sum([self.values(r, turn)[block] for r in range(self.comm.size)], axis=0, dtype=self.dtype)
        found = self.target.numpy()
        assert (found[self.shift :] == right).all(), (self.count, self.dtype, self.shift)
        assert (found[: self.shift].view(np.uint8) == 85).all()

    def run(self, turn: int = 0, timeout: float = 30) -> None:
        """Once, with what is to be there before and after."""
        self.give(turn)
        self.executable.run(*self.arguments, timeout)
        self.check(turn)


def sizes(comm: Communicator) -> str:
    """Blocks of many sizes, aligned and not; the largest of more than a MiB."""
    for count in COUNTS:
        Exchange(comm, count).run()
        Exchange(comm, count, shift=1).run(1)
    for count, shift in ((0, 0), (1, 1), (13, 3), (4099, 7)):
        Exchange(comm, count, np.uint8, shift).run(2)
    return "right"


def graph(comm: Communicator) -> str:
    """Calls that are enqueued, and calls that were captured and are replayed."""
    exchange, stream = Exchange(comm, 301), comm.device.create_stream()
    exchange.run()
    exchange.give(1)
    exchange.executable.enqueue(*exchange.arguments, 30, stream)
    stream.synchronize(30)
    exchange.check(1)
    with stream.capture() as captured:
        exchange.executable.enqueue(*exchange.arguments, 30, stream)
        exchange.executable.enqueue(*exchange.arguments, 30, stream)
    for turn in range(2, 5):
        exchange.give(turn)
        captured.launch(stream)
        stream.synchronize(30)
        exchange.check(turn)
    captured.close()
    return "right"


def fails(comm: Communicator, timeout: float = 20) -> str:
    """Calls of which the last cannot end well; what each rank says of it, and of a call after it."""
    exchange = Exchange(comm, 7)
    exchange.run()
    exchange = Exchange(comm, ODD)
    exchange.give(0)
    prepared.wait(30)  # a device that is lost is lost to all
    said = []
    for _ in range(2):
        try:
            exchange.executable.run(*exchange.arguments, timeout)
            said.append("no error")
        except HalError as error:
            said.append(f"{type(error).__name__}: {error}")
    return f"\nrank {comm.rank}: {said[0]}\nrank {comm.rank} again: {said[1]}\n"


def stalls(comm: Communicator) -> str:
    """As `fails`, where a copy takes longer than a call may."""
    return fails(comm, 0.5)


def aborted(comm: Communicator) -> str:
    """As `fails`, where rank 0 gives up before its deadline."""
    exchange = Exchange(comm, ODD)
    exchange.give(0)
    if comm.rank == 0:
        threading.Timer(0.3, comm.abort).start()
    began = time.monotonic()
    try:
        exchange.executable.run(*exchange.arguments, 30)
    except HalError as error:
        return f"\nrank {comm.rank}: {type(error).__name__}: {error} ({time.monotonic() - began < 1.4})"
    return "no error"


def survivors(comm: Communicator) -> str:
    """A rank that is killed between two calls, and the others go on."""
    exchange = Exchange(comm, 301)
    exchange.run()
    if comm.rank == comm.size - 1:
        print("killed", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        exchange.run()
    except HalError as error:
        with comm.shrink() as rest:
            again = Exchange(rest, 301)
            for turn in range(3):
                again.run(turn)
        return f"{type(error).__name__}: {error}; {rest.size} go on"
    return "no error"


def many(comm: Communicator) -> str:
    """Communicators one after another, more than would have room at the same time: what one takes it gives back."""
    for _ in range(150):
        with comm.split(0, comm.rank) as part:
            assert part.size == comm.size
    return "right"


BODIES: dict[str, Callable[[Communicator], str]] = {
    each.__name__: each for each in (sizes, graph, fails, stalls, aborted, survivors, many)
}


def main(what: str, size: int) -> None:
    """Run it, and print what the ranks say and how many triggers engines carried out."""
    carried: list[int] = []
    closing = engine.CopyEngine.close

    def close(one: engine.CopyEngine) -> None:
        carried.append(one.carried_out)
        closing(one)

    engine.CopyEngine.close = close  # type: ignore[method-assign]
    body = BODIES[what.removeprefix("rank-")]
    if what.startswith("rank-"):
        with init() as comm:
            print(body(comm), flush=True)
    else:
        print(*run_local(size, body, timeout=30, verify="never"))
    print(f"carried out: {sorted(carried)}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
