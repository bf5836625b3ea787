"""`python -m benchmarks.simulator`: calibrates the simulator on this host, and compares it with measurements."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.host.machine import ROOT, describe
from benchmarks.simulator.page import Row, write_page
from benchmarks.simulator.probes import PROBE_BYTES, PROBES, topology
from benchmarks.simulator.rank import count_of, plan_of
from hal.bootstrap.launcher import run_ranks
from hal.plan.simulate import load_topology, simulate

ALGORITHMS = (
    ("all_reduce", "one_phase"),
    ("all_reduce", "two_phase"),
    ("all_reduce", "staged"),
    ("all_reduce", "ring"),
    ("all_reduce", "recursive_doubling"),
    ("all_reduce", "halving_doubling"),
    ("all_reduce", "binomial_tree"),
    ("all_reduce", "hierarchical"),
    ("all_gather", "publish"),
    ("all_gather", "ring"),
    ("reduce_scatter", "publish"),
    ("broadcast", "binomial_tree"),
    ("all_to_all", "publish"),
)
SIZES = (1 << 10, 32 << 10, 1 << 20, 4 << 20)
RANKS = (2, 3, 4)
_JOB_SECONDS = 1200.0


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Few cases and short times; results not for docs.")] = False,
    seconds: Annotated[float, typer.Option(help="How long to measure each case.", min=0.01, max=60)] = 1.0,
    rounds: Annotated[int, typer.Option(help="Rounds of which the median counts.", min=1, max=1000)] = 9,
    output: Annotated[
        Path | None, typer.Option(help="Folder of simulator.md and simulator-host.yaml.", file_okay=False)
    ] = None,
) -> None:
    """Measure this host, write its topology, and compare predictions with measurements of whole collectives.

    Results go to docs/results, with --quick to build/benchmarks.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    folder = output or (ROOT / "build" / "benchmarks" if quick else ROOT / "docs" / "results")
    folder.mkdir(parents=True, exist_ok=True)
    pace = {"seconds": 0.05, "rounds": 3} if quick else {"seconds": seconds, "rounds": rounds}
    console.print("calibrating …")
    times = _measured([{"probe": name, "bytes": PROBE_BYTES} for name in PROBES], 2, pace)
    file = folder / "simulator-host.yaml"
    file.write_text(topology(dict(zip(PROBES, times, strict=True)), max(RANKS), len(os.sched_getaffinity(0))))
    machine = load_topology(file)
    rows = []
    for ranks in (2, 4) if quick else RANKS:
        console.print(f"{ranks} ranks …")
        cases: list[dict[str, Any]] = [
            {"collective": collective, "algorithm": algorithm, "bytes": nbytes}
            for collective, algorithm in (ALGORITHMS[::4] if quick else ALGORITHMS)
            for nbytes in (SIZES[1:3] if quick else SIZES)
        ]
        for case, measured in zip(cases, _measured(cases, ranks, pace), strict=True):
            plan = plan_of(case, ranks)
            predicted = simulate(plan, machine, count_of(plan, case["bytes"])).time
            rows.append(Row(case["collective"], case["algorithm"], ranks, case["bytes"], predicted, measured))
    write_page(folder / "simulator.md", describe(), file.read_text(), rows, _command())
    console.print(f"{folder / 'simulator.md'}")


def _measured(cases: list[dict[str, Any]], ranks: int, pace: dict[str, Any]) -> list[float]:
    """Seconds of a launch of each case, measured by so many ranks."""
    with tempfile.TemporaryDirectory() as folder:
        job, result = Path(folder) / "job.json", Path(folder) / "result.json"
        job.write_text(json.dumps({"cases": cases, "output": str(result), **pace}))
        program = ["benchmarks.simulator.rank", str(job)]
        status = run_ranks(program, ranks, module=True, timeout=_JOB_SECONDS)
        if status:
            raise typer.Exit(status)
        found: list[float] = json.loads(result.read_text())
        return found


def _command() -> str:
    arguments = shlex.join(sys.argv[1:])
    return f'make bench-simulator ARGS="{arguments}"' if arguments else "make bench-simulator"


if __name__ == "__main__":
    typer.run(main)
