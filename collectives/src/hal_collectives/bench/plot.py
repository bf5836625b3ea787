"""Results as a picture: time and bus bandwidth over the message size."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from hal_collectives.bench.report import Report, Row
from hal_collectives.bench.sizes import show_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_plot(report: Report, path: str | Path) -> None:
    """Write a picture of the report; the format follows from the file's suffix.

    Both scales are logarithmic; solid lines are out of place, dashed ones in place. Needs matplotlib.
    """
    from matplotlib.figure import Figure

    ranks = report.environment.get("ranks")
    figure = Figure(figsize=(12, 5), layout="constrained")
    figure.suptitle(f"hal bench: {ranks} ranks, {report.environment.get('backend')}, {report.environment.get('cpu')}")
    time, bandwidth = figure.subplots(1, 2)
    _draw(time, report, "time a call (µs)", "time_us")
    _draw(bandwidth, report, "bus bandwidth (GB/s)", "busbw")
    handles, labels = time.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right center", fontsize="small")
    figure.savefig(path, dpi=120)


def _draw(axes: Axes, report: Report, title: str, value: str) -> None:
    curves: dict[str, list[Row]] = defaultdict(list)
    for row in report.rows:
        if row.size:
            curves[_curve_name(row)].append(row)
    for number, (name, rows) in enumerate(curves.items()):
        colour = f"C{number % 10}"
        for half, style, suffix in (("out_of_place", "-", ""), ("in_place", "--", ", in place")):
            points = [(row.size, getattr(getattr(row, half), value)) for row in rows if getattr(row, half) is not None]
            points = [(size, y) for size, y in points if y > 0]  # a logarithmic scale has no place for others
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, style, color=colour, marker="o", markersize=3, linewidth=1.3, label=name + suffix)
    axes.set(title=title, xlabel="size (bytes)")
    if curves:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(lambda x, _: show_size(round(x)))
    axes.grid(True, which="major", alpha=0.4)
    axes.grid(True, which="minor", axis="y", alpha=0.15)


def _curve_name(row: Row) -> str:
    words = [row.collective, row.dtype, row.redop or "", f"root {row.root}" if row.root else ""]
    return " ".join(word for word in words if word)
