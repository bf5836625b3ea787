"""Pictures of the results: time and bandwidth over the message size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.host.cases import FORMS, show_bytes
from benchmarks.host.heat_map import write_heat_map
from benchmarks.host.results import Report, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RANGES = ((1, 64 << 10), (64 << 10, 1 << 40))
"""Bytes in the latency and in the bandwidth picture."""
_HAL_COLOURS = ("#d1495b", "#8f0e20")
_PEER_COLOURS = ("#30638e", "#5b8e7d", "#9bc1bc", "#edae49", "#8d8d8d", "#7b5ea7", "#a56b46")


def write_plots(report: Report, folder: Path) -> list[Path]:
    """Write the heat map, and a latency and a bandwidth picture for each collective that has sizes.

    Returns where they are. The pictures show a collective's first form.
    """
    written = write_heat_map(report, folder)
    for collective in dict.fromkeys(row.case.collective for row in report.rows if row.case.bytes):
        rows = [row for row in report.rows if row.case.collective == collective]
        form = next(form for form in FORMS[collective] if any(row.case.form == form for row in rows))
        rows = [row for row in rows if row.case.form == form]
        # one curve a contender: of both sources the one that applications have
        source = "dirty" if any(row.case.source == "dirty" for row in rows) else "clean"
        chosen = [row for row in rows if row.case.source == source]
        small, large = ([row for row in chosen if low <= row.case.bytes <= high] for low, high in _RANGES)
        for name, part in (("latency", small), ("bandwidth", large)):
            if part:
                path = folder / f"host-{collective.replace('_', '-')}-{name}.png"
                _write(report, part, f"{collective}, {form.replace('_', ' ')}, {source} source: {name}", name, path)
                written.append(path)
    return written


def _write(report: Report, rows: Sequence[Row], title: str, what: str, path: Path) -> None:
    from matplotlib.figure import Figure

    counts = list(dict.fromkeys(row.case.ranks for row in rows))
    figure = Figure(figsize=(4.6 * len(counts) + 1.6, 4.4), layout="constrained")
    figure.suptitle(f"{title}\n{report.machine['cpu']}, {report.machine['cores']} cores", fontsize="medium")
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for axes, ranks in zip(panels, counts, strict=True):
        _draw(axes, report, [row for row in rows if row.case.ranks == ranks], what)
        axes.set_title(f"{ranks} ranks", fontsize="medium")
    panels[0].set_ylabel("µs a call (lower is better)" if what == "latency" else "GB/s, size ÷ time (higher is better)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize="small")
    figure.savefig(path, dpi=110)


def _draw(axes: Axes, report: Report, rows: Sequence[Row], what: str) -> None:
    hal, peers = iter(_HAL_COLOURS), iter(_PEER_COLOURS)
    for name, label in report.labels.items():
        role = report.roles[name]
        if role == "limit":
            continue  # each lies just below the curve of its library
        is_peer = role == "peer"
        points = [
            (row.case.bytes, entry.microseconds.median)
            for row in rows
            if (entry := row.entries.get(name)) is not None and entry.microseconds and entry.microseconds.median > 0
        ]
        values = [time if what == "latency" else size / time / 1000 for size, time in points]
        axes.plot(
            [size for size, _ in points],
            values,
            "o-",
            color=next(peers if is_peer else hal),
            linewidth=1.4 if is_peer else 2.4,
            markersize=3.5,
            label=label,
            zorder=2 if is_peer else 3,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    sizes = sorted({row.case.bytes for row in rows})
    axes.set_xticks(sizes, [show_bytes(size) for size in sizes], rotation=60, fontsize="small")
    axes.minorticks_off()
    axes.grid(alpha=0.3)
