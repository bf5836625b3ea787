"""Groups of host and GPU ranks, as a program: `python -m tests.gpu.mixed BACKENDS WHAT …`.

`BACKENDS` names one for each rank, separated by commas. Ranks are threads; or this process is one of them (WHAT begins
with "rank"), and has its backend from there, or from its environment where that is "own".
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from hal.interface.errors import HalError, PeerFailure
from hal_collectives import Communicator, DeviceArray, init, run_local

from ..collectives.calling import Jobs, run_all
from ..collectives.cases import matrix
from ..collectives.oracle import Job
from .shared import OnADouble

CASES = 100
LARGE = 1 << 25
HOLD = """
#include <hal/device/wait.h>

// keeps its stream busy for so long
HAL_KERNEL void hold(hal::device::u64 nanoseconds) {
  hal::device::u64 began = hal::device::clock_ns();
  while (hal::device::clock_ns() - began < nanoseconds) hal::device::pause();
}
"""


class OwnJobs(Jobs):
    """The jobs of a rank that shares them with no other."""

    def take(self, number: int) -> Job:
        """The job of a case."""
        self._made.clear()
        return super().take(number)


def collectives(comm: Communicator) -> str:
    """Some of the matrix, without new outputs, which are no NumPy arrays on GPUs."""
    found = [case for case in matrix(memories=["registered"]) if case.place != "new"]
    jobs = OwnJobs(random.Random(comm.size).sample(found, CASES), comm.size, seed=comm.size)
    return "\n".join(run_all(cast(Communicator, OnADouble(comm)), jobs)) or "right"


def parts(comm: Communicator) -> str:
    """Groups of the ranks whose devices are alike, and the others between their calls."""
    names = comm.caller.group.backends
    assert names is not None
    alike = same(names, comm.rank)
    part = comm.split(min(alike))
    assert part is not None
    for turn in range(3):
        x = filled(comm, comm.rank + turn)
        part.all_reduce(x)
        assert (seen(x) == sum(alike) + turn * len(alike)).all()
        comm.all_reduce(x)
        assert (seen(x) == sum(r + turn for rank in range(comm.size) for r in same(names, rank))).all()
    # new outputs lie where the inputs do
    mine = filled(comm, comm.rank, comm.rank + 1)
    every, later = comm.all_gather_v(mine), comm.all_gather(filled(comm, comm.rank, 1), async_op=True).wait()
    assert type(every) is type(later) is type(mine)
    assert seen(every).tolist() == [rank for rank in range(comm.size) for _ in range(rank + 1)]
    assert seen(later).tolist() == [[rank] for rank in range(comm.size)]
    return f"{type(part.caller.group.executor).__name__} {type(comm.caller.group.executor).__name__}"


def same(names: Sequence[str], rank: int) -> list[int]:
    """The ranks with a backend like that of `rank`."""
    return [other for other, name in enumerate(names) if name == names[rank]]


def filled(comm: Communicator, value: float, count: int = 1000) -> Any:
    """An array of the rank's own device."""
    data = np.full(count, value, np.float32)
    made = comm.empty(count, np.float32)
    if isinstance(made, DeviceArray):
        return made.copy_from(data)
    made[:] = data
    return made


def seen(x: Any) -> Any:
    """What an array holds."""
    return x.numpy() if isinstance(x, DeviceArray) else x


def streams(comm: Communicator) -> str:
    """Rank 1 calls on streams, while rank 0 calls as it always does; what is refused."""
    if comm.rank == 0:
        for value in (3.0, 5.0, 5.0):
            x = filled(comm, 1)
            assert (seen(comm.all_reduce(x)) == value).all()
        y = filled(comm, 0)
        assert (comm.recv(y, 1) == 7).all()
        return "right"
    device = comm.device
    stream, room, x, y = device.create_stream(), device.allocate(LARGE), filled(comm, 0), filled(comm, 0)
    two, four = filled(comm, 2), filled(comm, 4)

    def give(source: Any) -> None:
        for _ in range(10):
            device.fill(room.address, 0, LARGE, stream)
        device.copy(x.address, source.address, x.nbytes, stream)

    give(two)
    comm.on(stream).all_reduce(x)
    device.copy(y.address, x.address, x.nbytes, stream)
    device.copy(x.address, two.address, x.nbytes, stream)
    stream.synchronize(20)
    assert (seen(y) == 3).all()
    give(four)
    comm.on(SimpleNamespace(cuda_stream=stream.handle)).all_reduce(x, y)
    assert (seen(y) == 5).all()
    with stream.capture() as graph:
        try:
            comm.on(stream).all_reduce(x)
            raise AssertionError("a call was captured")
        except HalError as error:
            said = f"\ncaptured: {type(error).__name__}: {error}"
    graph.close()
    for what in ("stream", SimpleNamespace(cuda_stream=3, device_index=1)):
        try:
            comm.on(what).all_reduce(x)
        except HalError as error:
            said += f"\nno stream: {type(error).__name__}: {error}"
    comm.on(stream).all_reduce(x, y)
    assert (seen(y) == 5).all()
    comm.check()
    comm.on(stream).send(filled(comm, 7), 0)
    return said


def late(comm: Communicator) -> str:
    """Rank 1's stream has too much to do before the call."""
    x = filled(comm, 1)
    began = time.monotonic()
    try:
        if comm.rank:
            stream = comm.device.create_stream()
            comm.device.launch(comm.device.compile(HOLD).hold, 1, 1, [10**9], stream)
            try:
                comm.on(stream).all_reduce(x, timeout=0.02)
            finally:
                stream.synchronize(20)
        else:
            comm.all_reduce(x)
    except HalError as error:
        return f"\nrank {comm.rank}: {type(error).__name__}: {error} ({time.monotonic() - began < 10})"
    return "no error"


def arguments(comm: Communicator) -> str:
    """Arrays that rank 1 cannot give, and one that it can: of the host's memory."""
    x = filled(comm, comm.rank + 1)
    said = ""
    if comm.rank:
        device, at = comm.device, x.address
        freed = device.allocate(64)
        device.free(freed)

        def interface(**changes: Any) -> Any:
            base = {"version": 3, "shape": (16,), "typestr": "<f4", "data": (at, False), "strides": None}
            return SimpleNamespace(__cuda_array_interface__=base | changes)

        tried = {
            "read-only": interface(data=(at, True)),
            "strided": interface(shape=(8,), strides=(8,)),
            "byte-swapped": interface(typestr=">f4"),
            "freed": interface(data=(freed.address, False)),
            "no address": interface(data=(1 << 50, False)),
            "past the end": interface(shape=(1 << 20,)),
        }
        for name, array in tried.items():
            for operation in ("all_reduce", "broadcast"):
                try:
                    getattr(comm, operation)(array)
                    said += f"\n{name}: nothing"
                except HalError as error:
                    said += f"\n{name}: {type(error).__name__}: {error}"
        assert (comm.all_reduce(np.full(1000, 2, np.float32)) == 3).all()
    else:
        comm.all_reduce(x)
    return said


def survivors(comm: Communicator) -> str:
    """The last rank is killed between two calls, and the others go on."""
    x = filled(comm, 1)
    comm.all_reduce(x)
    if comm.rank == comm.size - 1:
        print("killed", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    began = time.monotonic()
    try:
        comm.all_reduce(x)
    except PeerFailure as error:
        noticed = time.monotonic() - began
        with comm.shrink() as rest:
            x = rest.all_reduce(filled(rest, comm.rank + 1))
            assert ((x.numpy() if isinstance(x, DeviceArray) else x) == 3).all()
            return f"PeerFailure of rank {error.peer} ({noticed < 10}); on: {rest}"
    return "no error"


BODIES: dict[str, Callable[[Communicator], str]] = {
    each.__name__: each for each in (collectives, parts, streams, late, arguments, survivors)
}


def main(backends: str, *whats: str) -> None:
    """Run it and print what the ranks say."""
    names = backends.split(",")
    for what in whats:
        body = BODIES[what.removeprefix("rank-")]
        if what.startswith("rank-"):
            with init(backend=None if backends == "own" else names[int(os.environ["HAL_RANK"])]) as comm:
                print(comm, body(comm), flush=True)
        else:
            print(*run_local(len(names), body, timeout=30, backend=names), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
