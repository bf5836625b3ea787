"""`python -m benchmarks.waiting`: ranks that outnumber the cores, a late peer, and work beside communication.

- barrier and an all_reduce of 8 bytes on 16 ranks: medians over calls, of the slowest rank
- processor time of a rank that waits a second for a late peer, as getrusage counts it
- an all_reduce of 16 MiB in the background, computing, and both at once, on two ranks; computing releases the GIL
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import hal_collectives

CROWD, CALLS = 16, 300
LATE = 1.0
OVERLAP_ROUNDS = 15
SECONDS = 240
"""Deadline of one job."""


def crowd(comm: hal_collectives.Communicator) -> str:
    """Many ranks on few cores."""
    x = comm.empty(1, np.float64)
    x[:] = 0
    found = []
    for name, call in (("barrier", comm.barrier), ("all_reduce of 8 B", lambda: comm.all_reduce(x))):
        times = np.array([_seconds(call) for _ in range(CALLS)])
        comm.all_reduce(times, op="max")
        found.append(f"{name} {np.median(times) * 1e6:.0f} µs")
    return f"{comm.size} ranks: {', '.join(found)}"


def late(comm: hal_collectives.Communicator) -> str:
    """A peer that comes a second late."""
    comm.barrier()
    if comm.rank == 0:
        time.sleep(LATE)
    before = resource.getrusage(resource.RUSAGE_SELF)
    comm.barrier()
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = np.array([after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime])
    comm.all_reduce(spent, op="max")
    return f"waiting {LATE:g} s for a late peer: {spent[0] * 1e3:.1f} ms of processor time"


def overlap(comm: hal_collectives.Communicator) -> str:
    """Work beside communication."""
    x, matrix = comm.empty(4 << 20, np.float32), np.ones((600, 600))
    x[:] = 0

    def compute() -> None:
        matrix @ matrix

    def communicate() -> None:
        comm.all_reduce(x, async_op=True).wait()

    def both() -> None:
        work = comm.all_reduce(x, async_op=True)
        compute()
        work.wait()

    times: dict[str, list[float]] = {"compute": [], "communicate": [], "both": []}
    for _ in range(OVERLAP_ROUNDS):
        for name, call in (("compute", compute), ("communicate", communicate), ("both", both)):
            comm.barrier()
            slowest = np.array([_seconds(call)])
            times[name].append(float(comm.all_reduce(slowest, op="max")[0]))
    medians = {name: statistics.median(each) * 1e3 for name, each in times.items()}
    hidden = medians["compute"] + medians["communicate"] - medians["both"]
    share = hidden / min(medians["compute"], medians["communicate"])
    parts = ", ".join(f"{name} {ms:.2f} ms" for name, ms in medians.items())
    return f"overlap: {parts}; {share:.0%} of the shorter one is hidden"


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


PARTS = {"crowd": (crowd, CROWD), "late": (late, 2), "overlap": (overlap, 2)}


def main() -> None:
    """Run every part in a job of its own, or, as a rank of one, that part."""
    if sys.argv[1:]:
        with hal_collectives.init() as comm:
            text = PARTS[sys.argv[1]][0](comm)
            if comm.rank == 0:
                print(text)
        return
    hal = Path(sys.executable).with_name("hal")
    for name, (_, ranks) in PARTS.items():
        command = [str(hal), "run", "-n", str(ranks), "--no-prefix", "--", sys.executable, __file__, name]
        subprocess.run(command, check=True, timeout=SECONDS)


if __name__ == "__main__":
    main()
