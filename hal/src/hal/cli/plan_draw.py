"""`hal plan draw`: a plan or what was recorded of a run as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hal.cli.plan import plans
from hal.cli.plan_source import HELP, Ranks, Root, print_warnings, read_plan
from hal.config import kinds
from hal.interface.errors import UsageError

if TYPE_CHECKING:
    from hal.plan import Layout, Plan


def register() -> None:
    """Add the command to `hal plan`."""
    plans.command("draw")(draw)


def draw(
    plan: Annotated[str | None, typer.Argument(metavar="[FILE]", help=HELP, show_default=False)] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="OUT", help="A name that ends with .svg, .png or .html."),
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="SIZE", help="Show bytes for a message such as 64M.")
    ] = None,
    only: Annotated[
        list[int] | None, typer.Option("--rank", metavar="R", help="Show this rank alone; may be repeated.")
    ] = None,
    ranks: Ranks = None,
    root: Root = None,
    timeline: Annotated[
        Path | None, typer.Option("--timeline", metavar="TRACE", help="Draw a trace of HAL_TRACE or the simulator.")
    ] = None,
    launch: Annotated[
        int | None, typer.Option("--launch", metavar="N", help="Which launch of the trace; else the last one.")
    ] = None,
) -> None:
    """Draw who sends what to whom in a plan, by step; or, with --timeline, what ran when.

    The picture is the file OUT, by default the name of FILE, ALGORITHM or TRACE with .svg in the working directory.
    """
    from hal.plan.draw import check_output, draw_plan, draw_timeline, read_trace

    given = str(timeline) if plan is None else plan.rpartition(":")[2]
    if (plan is None) == (timeline is None):
        raise UsageError("give a plan as FILE, or a trace with --timeline")
    if timeline is not None and size is not None:
        raise UsageError("--size is for plans: a timeline has the sizes of its run")
    if timeline is None and launch is not None:
        raise UsageError("--launch is for timelines")
    target = Path(f"{Path(given).stem}.svg") if output is None else output
    check_output(target)
    if timeline is not None:
        draw_timeline(read_trace(timeline, launch), target, ranks=only or None)
    else:
        assert plan is not None
        found = read_plan(plan, ranks, root)
        print_warnings(plan, found.warnings)
        layout = None if size is None else _layout(found.plan, size)
        draw_plan(found.plan, target, layout=layout, ranks=only or None)
    typer.echo(f"{target}")


def _layout(plan: Plan, size: str) -> Layout:
    """The layout of a call of so many bytes in the larger buffer."""
    from hal.plan import Layout

    try:
        nbytes = kinds.size(0)(size)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from None
    chunks = max(max(rank.input_chunks, rank.output_chunks) for rank in plan.ranks)
    return Layout.uniform(plan, nbytes * plan.split // max(chunks, plan.split), 1)
