"""One picture of all ratios: by size down, by collective and ranks across."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.host.cases import FORMS, Case, show_bytes
from benchmarks.host.results import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STRONGEST = 3.0
"""log2 of the ratio that gets the strongest colour."""
Ratios = Mapping[tuple[str, int], float]
"""By column and size."""


def write_heat_map(report: Report, folder: Path) -> list[Path]:
    """Write the picture, a panel for each kind of HAL's memory; nothing where there is no ratio.

    Of two sources the dirty one is shown.
    """
    from matplotlib.figure import Figure

    panels = {report.labels[name]: ratios(report, name) for name in report.named("hal")}
    panels = {label: found for label, found in panels.items() if found}
    if not panels:
        return []
    columns = list(dict.fromkeys(column for found in panels.values() for column, _ in found))
    sizes = sorted({size for found in panels.values() for _, size in found})
    width = (2.0 + 0.5 * len(columns)) * len(panels)
    figure = Figure(figsize=(width, 3.2 + 0.32 * len(sizes)), layout="constrained")
    figure.suptitle(
        "time of the best of the others ÷ time of HAL (above 1, green: HAL is faster)\n"
        f"{report.machine['cpu']}, {report.machine['cores']} cores",
        fontsize="medium",
    )
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for each, (label, found) in zip(axes, panels.items(), strict=True):
        _draw(each, label, found, columns, sizes)
    path = folder / "host-ratios.png"
    figure.savefig(path, dpi=110)
    return [path]


def ratios(report: Report, name: str) -> dict[tuple[str, int], float]:
    """The median ratios of one of HAL's contenders, by column and size; of two sources those of the dirty one."""
    found: dict[tuple[str, int], float] = {}
    # dirty ones come last in this order and so take the place of clean ones
    for row in sorted(report.rows, key=lambda row: row.case.source):
        entry = row.entries.get(name)
        if entry is not None and entry.ratio is not None:
            found[_column(row.case), row.case.bytes] = entry.ratio.median
    order = list(dict.fromkeys(_column(row.case) for row in report.rows))
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0][0]), item[0][1])))


def _column(case: Case) -> str:
    form = f" {case.form.replace('_', ' ')}" if len(FORMS[case.collective]) > 1 else ""
    return f"{case.collective}{form}, {case.ranks} ranks"


def _draw(axes: Axes, label: str, found: Ratios, columns: list[str], sizes: list[int]) -> None:
    shades = [
        [math.log2(found[column, size]) if found.get((column, size), 0) > 0 else math.nan for column in columns]
        for size in sizes
    ]
    axes.imshow(shades, cmap="RdYlGn", vmin=-_STRONGEST, vmax=_STRONGEST, aspect="auto")
    for (column, size), ratio in found.items():
        text = f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}"
        axes.text(columns.index(column), sizes.index(size), text, ha="center", va="center", fontsize=7)
    axes.set_title(label, fontsize="medium")
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize="small")
    axes.set_yticks(range(len(sizes)), [show_bytes(size) if size else "–" for size in sizes], fontsize="small")
