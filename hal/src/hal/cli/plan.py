"""`hal plan`: the plans that are there, and what a plan says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hal.cli.output import console, print_error, table
from hal.cli.plan_source import HELP, PROVIDERS, Ranks, Root, print_warnings, read_plan
from hal.plugins.entry_points import Installed, PluginError, list_group, one_line

if TYPE_CHECKING:
    from hal.plan import Plan

FACTS = ("collective", "name", "ranks", "description")
COLUMNS = ("collective", "name", "steps", "moved", "scratch", "chosen for", "description")

ANY_NUMBER = "any number of ranks"

MOST_LISTED = 64
"""Ranks that figures are computed for."""

plans = typer.Typer(name="plan", help="List, show and check plans.", no_args_is_help=True)
"""The command group, to which other modules add commands of their own."""


def register(app: typer.Typer) -> None:
    """Add `hal plan` to `app`."""
    app.add_typer(plans)


@plans.command("show")
def show_plan(
    plan: Annotated[str, typer.Argument(metavar="FILE", help=HELP)],
    rank: Annotated[int | None, typer.Option("--rank", metavar="R", help="Show this rank alone.")] = None,
    ranks: Ranks = None,
    root: Root = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a plan instruction by instruction."""
    from hal.plan import show  # here, because it brings numpy, which `hal --version` does without

    found = read_plan(plan, ranks, root)
    print_warnings(plan, found.warnings)
    text = show(found.plan, rank)  # also where JSON is asked for: it refuses a rank that is not there
    if as_json:
        typer.echo(json.dumps(_facts(found.plan, rank), indent=2))
    else:
        typer.echo(text)


@plans.command("list")
def list_plans(
    ranks: Annotated[int, typer.Option("--ranks", metavar="N", min=1, max=MOST_LISTED, help="Figures of so many.")] = 8,
    collective: Annotated[str | None, typer.Option("--collective", metavar="NAME", help="Those of one alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the algorithms that are installed, with what they cost.

    Steps are messages one upon the other; moved is what comes in or goes out at the busiest rank, and scratch what it
    holds, in messages (the larger of input and output) or, where it is fixed, in bytes. An algorithm that does not
    serve N ranks is shown for the next lower number that it serves, which its row names.
    """
    found: list[dict[str, Any]] = []
    broken: list[str] = []
    if collective is not None:
        from hal.plan.collective import Collective

        collective = Collective.of(collective).label
    for provider in list_group(PROVIDERS):
        try:
            found += _algorithms(provider, ranks, collective)
        except PluginError as error:
            broken.append(error.message)
    found.sort(key=lambda row: (row["collective"], row["name"]))
    if as_json:
        typer.echo(json.dumps({"algorithms": found, "broken": broken}, indent=2))
    elif found:
        console().print(table(f"Algorithms, on {ranks} ranks", COLUMNS, [_row(one, ranks) for one in found]))
    elif collective is not None:
        console().print(f"No algorithms of {collective} are installed.")
    elif not broken:
        console().print("No algorithms are installed: `pip install hal-collectives` brings some for every collective.")
    if broken:
        for message in broken:
            print_error(message)
        raise typer.Exit(1)


def _algorithms(provider: Installed, ranks: int, collective: str | None) -> list[dict[str, Any]]:
    provide = provider.load()
    try:
        return [
            {column: str(getattr(one, column)) for column in FACTS} | _figures(one, ranks)
            for one in provide()
            if collective in (None, one.collective)
        ]
    except Exception as error:  # it is another package's code, which may raise anything
        raise PluginError(
            f"algorithms of {provider.name!r} ({provider.origin}) cannot be listed: {one_line(error)}"
        ) from error


def _figures(algorithm: Any, ranks: int) -> dict[str, Any]:
    """What an algorithm costs on `ranks` ranks, or as many fewer as it serves; nothing where it does not tell."""
    if not hasattr(algorithm, "build"):
        return {}
    from hal.plan.collective import Collective
    from hal.plan.figures import figures

    size = next((n for n in range(ranks, 0, -1) if algorithm.supports(n)), None)
    if size is None:
        return {}
    rooted = Collective.of(algorithm.collective).rooted
    found = figures(algorithm.build(size, 0) if rooted else algorithm.build(size))
    return {
        "figures": {
            "ranks": size,
            "steps": found.steps,
            "messages_moved": float(found.moved),
            "scratch_messages": float(found.scratch),
            "scratch_bytes": found.scratch_bytes,
            "chosen_for": algorithm.sizes(size) if hasattr(algorithm, "sizes") else "",
        }
    }


def _row(algorithm: dict[str, Any], ranks: int) -> list[str]:
    collective, name, serves, description = (algorithm[key] for key in FACTS)
    about = description if serves == ANY_NUMBER else f"{description}; for {serves}"
    found = algorithm.get("figures")
    if found is None:
        return [collective, name, "", "", "", "", about]
    scratch = f"{found['scratch_bytes'] >> 10} KiB" if found["scratch_bytes"] else f"{found['scratch_messages']:.4g}"
    steps = str(found["steps"]) + ("" if found["ranks"] == ranks else f" (on {found['ranks']})")
    return [collective, name, steps, f"{found['messages_moved']:.4g}", scratch, found["chosen_for"], about]


def _facts(plan: Plan, rank: int | None) -> dict[str, Any]:
    from hal.plan import digest, encode

    document = encode(plan)
    ranks = [{"rank": number, **part} for number, part in enumerate(document.pop("ranks"))]
    return {**document, "digest": digest(plan), "ranks": ranks if rank is None else [ranks[rank]]}
