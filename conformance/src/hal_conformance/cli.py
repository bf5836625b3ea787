"""The command line of `hal conformance`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer

from hal.cli.state import state
from hal_conformance import SUITE
from hal_conformance.settings import DEFAULT_LIMIT, FULL_RANKS, PROFILES, QUICK_RANKS, check_profiles, parse_ranks

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


@app.command()
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
    seed: Annotated[int, typer.Option("--seed", min=0, help="Where chance begins.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer ranks and repetitions.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write results.json and junit.xml there.")
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
    chosen = backend or state(ctx).load().backend
    parse_ranks(ranks, ())
    check_profiles(profile or [])
    arguments = [
        str(SUITE),
        f"--rootdir={SUITE}",
        f"--confcutdir={SUITE}",
        f"--config-file={SUITE / 'pytest.ini'}",
        "--quiet",
        f"--hal-backend={chosen}",
        f"--hal-seed={seed}",
        f"--hal-limit={limit:g}",
        *([f"--hal-ranks={ranks}"] if ranks else []),
        *(f"--hal-profile={one}" for one in profile or []),
        *(f"--hal-test={one}" for one in test or []),
        *(["--hal-quick"] if quick else []),
        *([f"--hal-report={report}", f"--junit-xml={report / 'junit.xml'}"] if report else []),
        *([f"--hal-known-failures={known_failures}"] if known_failures else []),
    ]
    raise typer.Exit(int(pytest.main(arguments)))
