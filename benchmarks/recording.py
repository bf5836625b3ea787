"""`python -m benchmarks.recording`: what a call costs with its instructions recorded (`HAL_TRACE`), and without.

The call is an all_reduce of 4 bytes in registered memory. Runs with and without take turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 4
BATCHES, CALLS = 400, 500
SECONDS = 120
"""Deadline of one run."""


def measure() -> None:
    """One rank's part; rank 0 prints the nanoseconds of a call in the fastest batch."""
    import hal_collectives

    with hal_collectives.init() as comm:
        x = comm.empty(1, "float32")
        x[:] = 0
        best = float("inf")
        for _ in range(BATCHES):
            begin = time.perf_counter_ns()
            for _ in range(CALLS):
                comm.all_reduce(x)
            best = min(best, (time.perf_counter_ns() - begin) / CALLS)
        if comm.rank == 0:
            print(f"{best:.0f}")


def run(ranks: int, recorded: bool) -> int:
    """The nanoseconds of a call in a job of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "HAL_TRACE"}
    hal = Path(sys.executable).with_name("hal")
    with tempfile.TemporaryDirectory() as folder:
        if recorded:
            environment["HAL_TRACE"] = f"{folder}/trace.json"
        command = [str(hal), "run", "-n", str(ranks), "--no-prefix", "--", sys.executable, __file__, "rank"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=SECONDS)
    return int(done.stdout)


def main() -> None:
    """Print a Markdown table: the range over the rounds."""
    times: dict[tuple[bool, int], list[int]] = {}
    for _ in range(ROUNDS):
        for recorded in (False, True):
            for ranks in (1, 2):
                times.setdefault((recorded, ranks), []).append(run(ranks, recorded))
    print("| | 1 rank | 2 ranks |\n|---|---|---|")
    for recorded in (False, True):
        cells = [f"{min(times[recorded, n])} to {max(times[recorded, n])} ns" for n in (1, 2)]
        print(f"| {'on' if recorded else 'off'} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    measure() if sys.argv[1:] == ["rank"] else main()
