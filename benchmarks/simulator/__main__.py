"""`python -m benchmarks.simulator`: calibrates the simulator by `hal bench` on this host, and compares the two."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.host.machine import ROOT, describe
from benchmarks.simulator.bench import Case, Pace, measure
from benchmarks.simulator.fit import fit
from benchmarks.simulator.page import Comparison, write_page
from hal.plan.simulate import load_topology, simulate

CALIBRATING = (
    ("barrier", "all_pairs"),
    ("all_gather", "publish"),
    ("reduce_scatter", "publish"),
    ("broadcast", "direct_mapped"),
)
"""What the topology follows from: signals alone; reading and reducing what others have just written; reading alone."""

COMPARED = (
    ("all_reduce", "one_phase"),
    ("all_reduce", "two_phase"),
    ("all_reduce", "two_phase_mapped"),
    ("all_reduce", "staged"),
    ("all_reduce", "ring"),
    ("all_reduce", "recursive_doubling"),
    ("all_reduce", "halving_doubling"),
    ("all_reduce", "binomial_tree"),
    ("all_reduce", "hierarchical"),
    ("all_gather", "direct_mapped"),
    ("all_gather", "ring"),
    ("reduce_scatter", "direct_mapped"),
    ("reduce_scatter", "ring"),
    ("broadcast", "binomial_tree"),
    ("all_to_all", "publish"),
)
"""No number of these goes into the topology."""

RANKS = (2, 3, 4)
PACE = Pace(low=1 << 10, high=4 << 20, factor=16, iterations=50, rounds=9)
QUICK = Pace(low=1 << 10, high=1 << 18, factor=16, iterations=5, rounds=3)


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Few cases and short times; results not for docs.")] = False,
    iterations: Annotated[int, typer.Option(help="Calls that are timed together.", min=1)] = PACE.iterations,
    rounds: Annotated[int, typer.Option(help="Rounds of which the median counts.", min=1)] = PACE.rounds,
    output: Annotated[
        Path | None, typer.Option(help="Folder of simulator.md and simulator-host-N.yaml.", file_okay=False)
    ] = None,
) -> None:
    """Measure this host with `hal bench`, write its topologies, and compare predictions with measurements.

    Results go to docs/results, with --quick to build/benchmarks.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    folder = output or (ROOT / "build" / "benchmarks" if quick else ROOT / "docs" / "results")
    folder.mkdir(parents=True, exist_ok=True)
    pace = QUICK if quick else Pace(PACE.low, PACE.high, PACE.factor, iterations, rounds)
    cores = len(os.sched_getaffinity(0))
    topologies: dict[int, str] = {}
    compared: list[Comparison] = []
    for ranks in RANKS[:1] if quick else RANKS:
        console.print(f"{ranks} ranks: calibrating …")
        alone = [Case("barrier", "all_pairs", 1), Case("all_gather", "direct_mapped", 1)]
        cases = alone + [Case(collective, algorithm, ranks) for collective, algorithm in CALIBRATING]
        parameters = fit([row for case in cases for row in measure(case, pace)], ranks, cores)
        topologies[ranks] = parameters.text(ranks, cores)
        file = folder / f"simulator-host-{ranks}.yaml"
        file.write_text(
            f"# This host with {ranks} ranks of its host backend, as `hal bench` saw it.\n{topologies[ranks]}"
        )
        machine = load_topology(file)
        for collective, algorithm in COMPARED[::5] if quick else COMPARED:
            console.print(f"{ranks} ranks: {collective} {algorithm} …")
            case = Case(collective, algorithm, ranks)
            plan = case.plan()
            compared += [Comparison(row, simulate(plan, machine, row.count).time) for row in measure(case, pace)]
    write_page(folder / "simulator.md", describe(), topologies, compared, CALIBRATING, _command())
    console.print(f"{folder / 'simulator.md'}")


def _command() -> str:
    arguments = shlex.join(sys.argv[1:])
    return f'make bench-simulator ARGS="{arguments}"' if arguments else "make bench-simulator"


if __name__ == "__main__":
    typer.run(main)
