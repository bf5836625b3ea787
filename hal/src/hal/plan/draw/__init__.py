"""Pictures: who sends what to whom in a plan, by step, and what ran when in a run.

Needs `hal-core[draw]`: matplotlib for SVG and PNG, plotly for HTML.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from hal.plan.draw.formats import FORMATS, check_output
from hal.plan.draw.gantt import gantt
from hal.plan.draw.recorded import read_trace
from hal.plan.draw.space_time import space_time
from hal.plan.draw.steps import Arrow, Diagram, Work, steps_of
from hal.plan.layout import Layout
from hal.plan.model import Plan
from hal.plan.timeline import Timeline

__all__ = [
    "FORMATS",
    "Arrow",
    "Diagram",
    "Work",
    "check_output",
    "draw_plan",
    "draw_timeline",
    "read_trace",
    "steps_of",
]


def draw_plan(
    plan: Plan, path: str | Path, *, layout: Layout | None = None, ranks: Collection[int] | None = None
) -> None:
    """Write a space-time diagram of a plan: ranks beside each other, steps downwards, an arrow for each transfer.

    The suffix of `path` says in which form (`FORMATS`). With `layout` the picture tells bytes; `ranks` are those whose
    transfers are shown, all by default. `UsageError` where the picture cannot be made or written, `PlanError` for a
    plan that is malformed or in deadlock.
    """
    suffix = check_output(path)
    picture = space_time(steps_of(plan, layout), ranks)
    if suffix == ".html":
        from hal.plan.draw import page

        page.draw_space_time(picture, Path(path))
    else:
        from hal.plan.draw import still

        still.draw_space_time(picture, Path(path))


def draw_timeline(timeline: Timeline, path: str | Path, *, ranks: Collection[int] | None = None) -> None:
    """Write a timeline as a chart: a row for each block and port of each rank, time to the right.

    Form and errors are those of `draw_plan`.
    """
    suffix = check_output(path)
    picture = gantt(timeline, ranks)
    if suffix == ".html":
        from hal.plan.draw import page

        page.draw_gantt(picture, Path(path))
    else:
        from hal.plan.draw import still

        still.draw_gantt(picture, Path(path))
