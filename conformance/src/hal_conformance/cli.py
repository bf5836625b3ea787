"""The command line of `hal conformance`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import pytest
import typer

from hal.cli.output import console
from hal.cli.state import state
from hal_conformance.gathering import SUITE_ARGUMENTS
from hal_conformance.settings import (
    DEFAULT_LIMIT,
    FULL_RANKS,
    PROFILES,
    QUICK_RANKS,
    check_clause_ids,
    check_profiles,
    parse_ranks,
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


@app.callback(invoke_without_command=True)
def _conformance(
    ctx: typer.Context,
    backend: Annotated[
        str | None,
        typer.Option("--backend", metavar="NAME", help="The backend to test.  [default: the configured one]"),
    ] = None,
    ranks: Annotated[
        str | None,
        typer.Option(
            "--ranks",
            metavar="N,...",
            help=f"Sizes of groups.  [default: {_listed(FULL_RANKS)}; quick: {_listed(QUICK_RANKS)}]",
        ),
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option("--profile", metavar="NAME", help=f"Only this one of {', '.join(PROFILES)}.")
    ] = None,
    test: Annotated[
        list[str] | None, typer.Option("--test", metavar="ID", help="Only the test of this id; * stands for anything.")
    ] = None,
    clause: Annotated[
        list[str] | None, typer.Option("--clause", metavar="ID", help="Only the tests of this clause, as HAL-SEM-003.")
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Where chance begins.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer ranks and repetitions.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write report.html, results.json, junit.xml there.")
    ] = None,
    limit: Annotated[
        float, typer.Option("--limit", metavar="SECONDS", help="How long one test may take.")
    ] = DEFAULT_LIMIT,
    known_failures: Annotated[
        Path | None,
        typer.Option("--known-failures", metavar="FILE", help="In place of the one that the backend's package ships."),
    ] = None,
) -> None:
    """Test whether a backend does what the specification says, clause by clause."""
    if ctx.invoked_subcommand is not None:
        return
    chosen = backend or state(ctx).load().backend
    parse_ranks(ranks, ())
    check_profiles(profile or [])
    check_clause_ids(clause or [])
    arguments = [
        *SUITE_ARGUMENTS,
        "-rN",  # each failure is shown with its command; what to do next comes last
        f"--hal-backend={chosen}",
        f"--hal-seed={seed}",
        f"--hal-limit={limit:g}",
        *([f"--hal-ranks={ranks}"] if ranks else []),
        *(f"--hal-profile={one}" for one in profile or []),
        *(f"--hal-test={one}" for one in test or []),
        *(f"--hal-clause={one}" for one in clause or []),
        *(["--exitfirst"] if fail_fast else []),
        *(["--hal-quick"] if quick else []),
        *([f"--hal-report={report}"] if report else []),
        *([f"--hal-known-failures={known_failures}"] if known_failures else []),
    ]
    raise typer.Exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    """The exit status of pytest; a signal that ends the run lets it close what it has opened and write its report."""
    ended: list[int] = []

    def end(number: int, frame: object) -> None:
        ended.append(number)
        signal.signal(number, signal.SIG_DFL)  # the second one is obeyed at once
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        status = int(pytest.main(arguments))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 + ended[0] if ended else status


@app.command("verify-report")
def _verify_report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The results.json of a report, or its folder.")],
) -> None:
    """Check that a report is whole, agrees with itself, and is of the suite that is installed here."""
    from hal_conformance.report import reading, verifying

    document = reading.load(file)
    found = list(verifying.problems(document))
    out = console()
    for line in found:
        out.print(line, soft_wrap=True)
    count = f"{len(found)} problem{'s' if len(found) > 1 else ''}"
    subject = f"{document['implementation']['backend']}: {document['verdict']}, {len(document['results'])} outcomes"
    out.print(f"{file}: {count}" if found else f"{file}: in order ({subject})", soft_wrap=True)
    raise typer.Exit(1 if found else 0)
