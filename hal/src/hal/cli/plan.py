"""`hal plan`: the plans that are there, and what a plan says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hal.cli.output import console, print_error, table
from hal.plugins.entry_points import Installed, PluginError, list_group, one_line

if TYPE_CHECKING:
    from hal.plan import Plan

PROVIDERS = "hal.algorithms"
"""The entry-point group of algorithms: functions that return objects with the attributes `COLUMNS` names."""

COLUMNS = ("collective", "name", "ranks", "description")

plans = typer.Typer(name="plan", help="List, show and check plans.", no_args_is_help=True)
"""The command group, to which other modules add commands of their own."""


def register(app: typer.Typer) -> None:
    """Add `hal plan` to `app`."""
    from hal.cli import plan_verify  # noqa: F401 -- importing it adds its command to `plans`

    app.add_typer(plans)


@plans.command("show")
def show_plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A plan as JSON.")],
    rank: Annotated[int | None, typer.Option("--rank", metavar="R", help="Show this rank alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a plan instruction by instruction."""
    from hal.plan import load, show  # here, because they bring numpy, which `hal --version` does without

    plan = load(file)
    text = show(plan, rank)  # also where JSON is asked for: it refuses a rank that is not there
    if as_json:
        typer.echo(json.dumps(_facts(plan, rank), indent=2))
    else:
        typer.echo(text)


@plans.command("list")
def list_plans(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the algorithms that are installed."""
    found: list[dict[str, str]] = []
    broken: list[str] = []
    for provider in list_group(PROVIDERS):
        try:
            found += _algorithms(provider)
        except PluginError as error:
            broken.append(error.message)
    found.sort(key=lambda row: (row["collective"], row["name"]))
    if as_json:
        typer.echo(json.dumps({"algorithms": found, "broken": broken}, indent=2))
    elif found:
        console().print(table("Algorithms", COLUMNS, [[row[column] for column in COLUMNS] for row in found]))
    elif not broken:
        console().print("No algorithms are installed: `pip install hal-collectives` brings some for every collective.")
    if broken:
        for message in broken:
            print_error(message)
        raise typer.Exit(1)


def _algorithms(provider: Installed) -> list[dict[str, str]]:
    provide = provider.load()
    try:
        return [{column: str(getattr(one, column)) for column in COLUMNS} for one in provide()]
    except Exception as error:  # it is another package's code, which may raise anything
        raise PluginError(
            f"algorithms of {provider.name!r} ({provider.origin}) cannot be listed: {one_line(error)}"
        ) from error


def _facts(plan: Plan, rank: int | None) -> dict[str, Any]:
    from hal.plan import digest, encode

    document = encode(plan)
    ranks = [{"rank": number, **part} for number, part in enumerate(document.pop("ranks"))]
    return {**document, "digest": digest(plan), "ranks": ranks if rank is None else [ranks[rank]]}
