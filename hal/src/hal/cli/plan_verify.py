"""`hal plan verify`: whether plans are right, in every schedule."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hal.cli.output import print_error
from hal.cli.plan import plans
from hal.cli.plan_source import Ranks, Root, print_warnings, read_plan
from hal.interface.errors import PlanError, UsageError, unknown_name

if TYPE_CHECKING:
    from hal.plan.verify import Limits


def register() -> None:
    """Add `hal plan verify`."""
    plans.command("verify")(verify_plans)


def verify_plans(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Plans as JSON; or COLLECTIVE:ALGORITHM, with --ranks."),
    ],
    ranks: Ranks = None,
    root: Root = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="WHAT=N",
            help="What the device has room for, such as blocks=16; may be repeated.",
        ),
    ] = None,
    variable: Annotated[
        bool, typer.Option("--variable", help="Prove for counts that differ between ranks, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prove plans right, or say what is wrong: deadlocks, races, wrong results.

    The exit status is 0 where all plans are proven, 1 where one of them is not, 2 where one cannot be read.
    """
    from hal.plan.verify import verify

    limits = _limits(limit or [])
    reports: list[dict[str, Any]] = []
    status = 0
    for file in files:
        try:
            found = read_plan(file, ranks, root, validated=False)
        except PlanError as error:
            status = 2
            reports.append({"file": file, "error": error.message})
            if not as_json:
                print_error(error.message)
            continue
        if not as_json:
            print_warnings(file, found.warnings)
        report = verify(found.plan, limits=limits, variable=variable)
        status = max(status, int(not report.ok))
        reports.append({"file": file, "warnings": list(found.warnings), **report.facts()})
        if not as_json:
            typer.echo(f"{file}: {report}")
    if as_json:
        typer.echo(json.dumps(reports, indent=2))
    if status:
        raise typer.Exit(status)


def _limits(given: list[str]) -> Limits:
    from hal.plan.verify import Limits

    names = [field.name for field in fields(Limits)]
    values: dict[str, int] = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in names:
            raise UsageError(unknown_name("limit", name, names))
        if not number.isdecimal() or len(number) > 12:
            raise UsageError(f"limit {name!r} is a whole number, as in {name}=16, not {number!r}")
        values[name] = int(number)
    return Limits(**values)
