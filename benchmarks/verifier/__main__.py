"""`python -m benchmarks.verifier`: time and peak memory of proving plans, as a Markdown table."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

PLANS = [
    ("all_reduce", "ring"),
    ("all_reduce", "two_phase"),
    ("all_reduce", "recursive_doubling"),
    ("all_to_all", "publish"),
]
SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
MOST_SECONDS = 300
"""For one plan."""

# in a process of its own, so that the peak is the plan's alone
MEASURE = """
import json, resource, sys, time
from hal.plan.verify import verify
from hal_collectives.algorithms import get
plan = get(sys.argv[1], sys.argv[2]).build(int(sys.argv[3]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
report = verify(plan)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert report.ok, str(report)
print(json.dumps({"seconds": seconds, "steps": report.steps, "peak": peak / 1024, "plan": before / 1024}))
"""


def main(
    rounds: Annotated[int, typer.Option(help="How often each plan is proven; medians are shown.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Up to 16 ranks, once.")] = False,
    output: Annotated[Path, typer.Option(help="The folder for the table.")] = Path("docs/results"),
) -> None:
    """Measure and write `verifier.md`."""
    sizes = [n for n in SIZES if n <= 16] if quick else SIZES
    # what grows with the square of the ranks in both blocks and operands is shown up to 64
    cases = [(c, a, n) for c, a in PLANS for n in sizes if a == "ring" or n <= 64]
    rows = [_measured(*case, 1 if quick else rounds) for case in track(cases, "proving", transient=True)]
    output.mkdir(parents=True, exist_ok=True)
    (output / "verifier.md").write_text(_page(rows))
    typer.echo(f"{output / 'verifier.md'}")


def _measured(collective: str, algorithm: str, size: int, rounds: int) -> list[str]:
    runs = []
    for _ in range(rounds):
        command = [sys.executable, "-c", MEASURE, collective, algorithm, str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=MOST_SECONDS)
        runs.append(json.loads(done.stdout))
    seconds = statistics.median(run["seconds"] for run in runs)
    peak = statistics.median(run["peak"] for run in runs)
    steps = runs[0]["steps"]
    per_step = f"{seconds / steps * 1e6:.1f}"
    return [f"{collective} {algorithm}", str(size), str(steps), f"{seconds:.3f}", per_step, f"{peak:.0f}"]


def _page(rows: list[list[str]]) -> str:
    header = ["plan", "ranks", "steps", "seconds", "us a step", "peak MiB"]
    table = "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {datetime.date.today().isoformat()}"
    return f"""# What a proof costs

`make bench-verifier` on {machine}; one process a plan, medians. Steps are instructions, each piece of a loop and each
sharing of memory counted; seconds hold validation, digest and proof, and the peak is that of the whole process.

{table}

Steps are what costs: a move, signal or wait takes some microseconds, with the number of its operands and channels. To
it comes the size of a vector clock, one number for each block of all ranks: a step of 256 ranks takes longer than one
of 8 by the time of a vector maximum over 256 numbers. Memory grows with the number of different ranges of bytes.
"""


if __name__ == "__main__":
    typer.run(main)
