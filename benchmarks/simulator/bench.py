"""What `hal bench` measures of one algorithm: the seconds of its calls, by size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from hal.plan import Plan
from hal.plan.collective import Collective
from hal_collectives.algorithms import get

SCRATCH = "128M"
"""Of two launches: trees and doubling need several messages."""
_JOB_SECONDS = 600.0


@dataclass(frozen=True)
class Case:
    """An algorithm on some ranks."""

    collective: str
    algorithm: str
    ranks: int

    def plan(self) -> Plan:
        """The plan that the benchmark runs."""
        root = 0 if Collective.of(self.collective).rooted else None
        return get(self.collective, self.algorithm).build(self.ranks, root)


@dataclass(frozen=True)
class Row:
    """A call of a case: bytes as nccl-tests counts them, the count of the call, and the seconds that it took."""

    case: Case
    nbytes: int
    count: int
    seconds: float


@dataclass(frozen=True)
class Pace:
    """The sizes, and how often each is measured: calls that are timed together, and rounds, whose median counts."""

    low: int
    high: int
    factor: int
    iterations: int
    rounds: int

    def options(self) -> list[str]:
        """As options of `hal bench`."""
        sizes = ["-b", str(self.low), "-e", str(self.high), "-f", str(self.factor)]
        return [*sizes, "-n", str(self.iterations), "--rounds", str(self.rounds), "--no-check"]


def measure(case: Case, pace: Pace) -> list[Row]:
    """Run `hal bench` on the host backend with the algorithm pinned; a row for each size, out of place.

    Times are those of the slowest rank, buffers are registered memory. Ends the command where the benchmark fails.
    """
    pins = {f"HAL_ALGORITHMS_{case.collective.upper()}": case.algorithm}
    environment = {**os.environ, "HAL_BACKEND": "host", "HAL_HOST_SCRATCH_SIZE": SCRATCH, **pins}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "bench.json"
        done = subprocess.run(
            [_hal(), "bench", case.collective, "--ranks", str(case.ranks), *pace.options(), "--json", str(output)],
            env=environment,
            stdout=subprocess.DEVNULL,
            timeout=_JOB_SECONDS,
            check=False,
        )
        if done.returncode:
            raise typer.Exit(done.returncode)
        return rows(case, json.loads(output.read_text())["rows"])


def rows(case: Case, found: Sequence[dict[str, object]]) -> list[Row]:
    """The rows of a file of `hal bench`."""
    made = []
    for row in found:
        times = row["out_of_place"]
        assert isinstance(times, dict)
        made.append(Row(case, int(str(row["size"])), int(str(row["count"])), float(times["time_us"]) * 1e-6))
    return made


def _hal() -> str:
    """The `hal` beside the Python that runs this."""
    return str(Path(sys.executable).with_name("hal"))
