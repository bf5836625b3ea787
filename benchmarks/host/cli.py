"""The command line: `python -m benchmarks.host`, which `make bench-host` runs."""

from __future__ import annotations

import dataclasses
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.host import environment, machine
from benchmarks.host.cases import COLLECTIVES, SOURCES
from benchmarks.host.conductor import Pace
from benchmarks.host.contenders import LIBRARIES, choose
from benchmarks.host.page import write_page
from benchmarks.host.plots import write_plots
from benchmarks.host.results import Report
from benchmarks.host.session import Settings, run
from hal.interface.errors import UsageError, unknown_name

_PUBLISHED = environment.ROOT / "docs" / "results"
_SCRATCH = environment.ROOT / "build" / "benchmarks"


def measure(
    collectives: Annotated[
        str, typer.Option(help=f"Comma-separated: {', '.join(COLLECTIVES)}; or all.", metavar="NAMES")
    ] = "all",
    ranks: Annotated[str, typer.Option(help="Rank counts, comma-separated.", metavar="COUNTS")] = "2,4,8",
    source: Annotated[
        str | None, typer.Option(help="clean, dirty or both. Default: both on 2 ranks, dirty on more.")
    ] = None,
    contenders: Annotated[
        str, typer.Option(help=f"Comma-separated: {', '.join(each.name for each in LIBRARIES)}.", metavar="NAMES")
    ] = "",
    seconds: Annotated[float, typer.Option(help="How long to measure each case.", min=0.05, max=600)] = 2.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few sizes, one form, a short time; results not for docs.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder of host.json, host.md and pictures.", file_okay=False)
    ] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Only write page and pictures again.")] = False,
) -> None:
    """Measure HAL beside other libraries on this host; results go to docs/results, with --quick to build/benchmarks."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    folder = output or (_SCRATCH if quick else _PUBLISHED)
    folder.mkdir(parents=True, exist_ok=True)
    if report_only:
        report = Report.read(folder / "host.json")
    else:
        try:
            libraries = choose(_names(contenders))
            settings = Settings(
                collectives=_collectives(collectives),
                ranks=_counts(ranks),
                sources=_sources(source),
                quick=quick,
                pace=Pace(seconds=min(seconds, 0.5), min_rounds=3) if quick else Pace(seconds=seconds),
                libraries=libraries,
                absent=environment.prepare(libraries, console.print),
            )
        except (UsageError, environment.InstallationError) as error:
            console.print(f"error: {error}", style="red", markup=False)
            raise typer.Exit(2) from None
        report = Report(machine.describe(), _command(), dataclasses.asdict(settings.pace))
        # a signal ends the run as an error does: no rank stays behind
        signal.signal(signal.SIGTERM, _interrupt)
        run(settings, report, environment.FOLDER, lambda text: console.print(text, markup=False))
        report.write(folder / "host.json")
    write_page(report, folder / "host.md", write_plots(report, folder))
    console.print(f"{folder / 'host.md'}", markup=False)
    if report.has_wrong:
        console.print("error: a contender computed a wrong result, see «Not run» there", style="red")
        raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    typer.run(measure)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _collectives(text: str) -> list[str]:
    names = list(COLLECTIVES) if text == "all" else _names(text)
    for name in names:
        if name not in COLLECTIVES:
            raise UsageError(unknown_name("collective", name, [*COLLECTIVES, "all"]))
    return names


def _counts(text: str) -> list[int]:
    counts = _names(text)
    if not counts or not all(count.isdecimal() and 2 <= int(count) <= 64 for count in counts):
        raise UsageError(f"--ranks is {text!r}: comma-separated numbers from 2 to 64 are allowed")
    return [int(count) for count in counts]


def _sources(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    if text not in (*SOURCES, "both"):
        raise UsageError(unknown_name("source", text, [*SOURCES, "both"]))
    return SOURCES if text == "both" else (text,)


def _command() -> str:
    arguments = shlex.join(sys.argv[1:])
    return f'make bench-host ARGS="{arguments}"' if arguments else "make bench-host"
