"""What a rank process of these tests runs: `program.py SCENARIO PARAMETERS`, which says what happens as lines of JSON.

Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from calls import PINS, make

import hal_collectives as hc
from hal.interface.errors import HalError, PeerFailure
from hal.runtime.group import Group


def say(event: str, **more: Any) -> None:
    print(json.dumps({"event": event, **more}), flush=True)


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """Say which error ended the block."""
    began = time.monotonic()
    try:
        yield
    except HalError as error:
        now = time.monotonic()
        say("error", kind=type(error).__name__, peer=error.peer, text=str(error), at=now, after=now - began)


def repeat(comm: hc.Communicator, kind: str) -> None:
    """Call until it fails."""
    call = make(comm, kind)
    call()
    say("ready")
    with reporting():
        while True:
            call()
    with reporting():  # and it stays failed
        comm.barrier()
    say("over")
    time.sleep(600)  # the test ends it


def late(comm: hc.Communicator, kind: str, rank: int, seconds: float) -> None:
    """One rank comes to a call `seconds` after the others."""
    call = make(comm, kind)
    call()
    say("ready")
    if comm.rank == rank:
        time.sleep(seconds)
    with reporting():
        call()
        say("success")


def leave(comm: hc.Communicator, kind: str, rank: int, how: str, seconds: float = 0) -> None:
    """One rank ends in place of a call, by returning or by an error, `seconds` after the others have come to it."""
    call = make(comm, kind)
    call()
    say("ready")
    if comm.rank != rank:
        with reporting():
            while True:  # who has sent its message goes on
                call()
    time.sleep(seconds)
    say("left", at=time.monotonic())
    if how == "raise":
        raise SystemExit(0)  # passes through the `with` block as any other error does
    if how == "skip_close":
        os._exit(0)


def last(comm: hc.Communicator, kind: str, calls: int, close: bool = False) -> None:
    """Some calls; then each rank ends at once, whoever still runs, half of them without closing unless `close`."""
    call = make(comm, kind)
    with reporting():
        for _ in range(calls):
            call()
        say("success")
    if comm.rank % 2 and not close:
        os._exit(0)


def wait_idly(comm: hc.Communicator, seconds: float) -> None:
    """All wait for rank 0, and say how much processor time that took."""
    comm.barrier()
    if comm.rank == 0:
        time.sleep(seconds)
    before = resource.getrusage(resource.RUSAGE_SELF)
    comm.barrier()
    after = resource.getrusage(resource.RUSAGE_SELF)
    say("waited", cpu=after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def crowd(comm: hc.Communicator, rounds: int) -> None:
    """Barriers and small reductions, timed."""
    x = np.zeros(1, np.int64)
    times: dict[str, list[float]] = {"barrier": [], "all_reduce": []}
    for _ in range(rounds):
        for name, call in (("barrier", comm.barrier), ("all_reduce", lambda: comm.all_reduce(x))):
            began = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - began)
    say("times", **{name: float(np.median(values)) for name, values in times.items()})


def split_and_close(comm: hc.Communicator, rounds: int) -> None:
    """Sub-groups made, used and closed; the memory in use afterwards."""
    from hal_host import segment

    def measure() -> tuple[int, int]:
        comm.barrier()
        with open("/proc/self/statm", encoding="ascii") as file:
            resident = int(file.read().split()[1]) * resource.getpagesize()
        assert segment._segment is not None
        return segment._segment.heap.used, resident

    x = np.ones(1000, np.float32)
    measured = []
    for number in range(rounds):
        part = comm.split(comm.rank % 2, -comm.rank)
        assert part is not None
        part.all_reduce(x)
        part.close()
        if number in (rounds // 10, rounds - 1):
            measured.append(measure())
    say("memory", first=measured[0], end=measured[1])


def forked(comm: hc.Communicator) -> None:
    """Children of a fork end in the ordinary way, which must not end their parents' group."""
    comm.barrier()
    child = os.fork()
    if child == 0:
        with reporting():
            comm.barrier()
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    with reporting():
        comm.all_reduce(np.zeros(4))
        comm.barrier()
        say("success", child=status)


def go_on(comm: hc.Communicator, dies: int = -1, moment: str = "") -> None:
    """Call until a rank dies, go on without it, say what those that are left give each other, and so on."""
    job_rank, number = comm.rank, 0
    if job_rank == dies:
        _die_in_shrink(comm, moment)
    x, block, message = np.zeros(64), np.array([job_rank]), np.array([-1])
    comm.barrier()
    say("ready")
    while True:
        with contextlib.suppress(PeerFailure):
            while True:
                comm.all_reduce(x)
        try:
            failed, comm = comm, comm.shrink()
        except HalError as error:
            say("alone", kind=type(error).__name__, peer=error.peer, text=str(error))
            return
        failed.close()
        with contextlib.suppress(PeerFailure):
            gathered, total = comm.all_gather(block), comm.all_reduce(block.copy())
            pending = comm.send(block, (comm.rank + 1) % comm.size, async_op=True) if comm.size > 1 else None
            if pending is not None:
                comm.recv(message, (comm.rank - 1) % comm.size)
                pending.wait()
            say(
                f"shrunk{number}",
                rank=comm.rank,
                size=comm.size,
                gathered=gathered.ravel().tolist(),
                sum=int(total[0]),
                message=int(message[0]) if comm.size > 1 else job_rank,
            )
            number += 1


def _die_in_shrink(comm: hc.Communicator, moment: str) -> None:
    """Be killed once the others agree on who is left, once the new group is there, or once that is agreed as well."""
    store, join = comm._group.store, Group._join
    agree = store.survivors
    agreements = 0

    def survivors(*args: Any, **more: Any) -> dict[int, bytes]:
        nonlocal agreements
        found = agree(*args, **more)
        agreements += 1
        if agreements == {"agreed": 1, "made": 2}.get(moment):
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    def joined(group: Group) -> Any:
        executor = join(group)
        if moment == "joined":
            os.kill(os.getpid(), signal.SIGKILL)
        return executor

    store.survivors = survivors  # type: ignore[method-assign]  # the real one within
    Group._join = joined  # type: ignore[method-assign]  # as above


def leave_out(comm: hc.Communicator, rank: int) -> None:
    """Call until one rank does not answer; go on without it."""
    comm.barrier()
    say("ready")
    with reporting():
        while True:
            comm.barrier()
    if comm.rank == rank:
        return
    try:
        comm.shrink()
    except HalError as error:
        say("unanswered", kind=type(error).__name__, text=str(error))
    with comm.shrink(without=[rank]) as rest:
        say("shrunk0", gathered=rest.all_gather(np.array([comm.rank])).ravel().tolist())


SCENARIOS: dict[str, Callable[..., None]] = {
    f.__name__: f for f in (repeat, late, leave, last, wait_idly, crowd, split_and_close, forked, go_on, leave_out)
}


def main(scenario: str, parameters: dict[str, Any]) -> None:
    timeout = parameters.pop("timeout", "60s")
    with hc.init(timeout=timeout, **PINS.get(parameters.get("kind", ""), {})) as comm:
        SCENARIOS[scenario](comm, **parameters)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
