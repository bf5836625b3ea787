"""The summary of a run: each cell of the targets, with its worst and its median ratio."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass

from benchmarks.host.cases import FORMS, show_bytes
from benchmarks.host.markdown import table
from benchmarks.host.results import Report, Row
from benchmarks.host.targets import RANGES, Target, size_range, target


@dataclass(frozen=True)
class Cell:
    """The ratios of one cell, and how far the best library from C is ahead of or behind HAL (None: not run)."""

    ranks: int
    collective: str
    form: str
    memory: str
    index: int
    ratios: tuple[float, ...]
    sizes: tuple[int, ...]
    from_c: float | None

    @property
    def target(self) -> Target | None:
        """What it is to reach."""
        return target(self.collective, self.ranks, self.form, self.memory, self.index)

    @property
    def worst(self) -> float:
        """The lowest ratio, which is what counts."""
        return min(self.ratios)

    @property
    def worst_size(self) -> int:
        """Where that is."""
        return self.sizes[self.ratios.index(self.worst)]

    @property
    def verdict(self) -> str:
        """Whether all its ratios reach the target."""
        if self.target is None:
            return "no target"
        return "aim" if self.worst >= self.target.aim else "met" if self.worst >= self.target.must else "**missed**"


def cells(report: Report) -> list[Cell]:
    """All cells with ratios, in the order of the run; of two sources the dirty one counts."""
    dirty = {(row.case.collective, row.case.ranks) for row in report.rows if row.case.source == "dirty"}
    rows: dict[tuple[int, str, str, str, int], list[Row]] = defaultdict(list)
    for row in report.rows:
        case, index = row.case, size_range(row.case.bytes)
        if index is None or (case.source == "clean" and (case.collective, case.ranks) in dirty):
            continue
        for name in report.named("hal"):
            if name in row.entries and row.entries[name].ratio is not None:
                rows[case.ranks, case.collective, case.form, name, index].append(row)
    return [_cell(report, name, rows[key], key) for key in rows for name in (key[3],)]


def summary(report: Report) -> str:
    """The section of the page."""
    found = cells(report)
    if not found:
        return ""
    judged = [cell for cell in found if cell.target is not None]
    met = sum(cell.verdict in ("met", "aim") for cell in judged)
    text = (
        "For each group of rows below: the worst and the median of its ratios «best peer ÷ HAL», and what the worst is"
        " to reach (must, and in brackets the aim). Where a collective was measured from a dirty source, only that"
        " counts. The last column is the median of the time of the fastest MPI called from C, without Python, divided"
        f" by HAL's from Python. Of {len(judged)} cells with a target {met} meet it."
    )
    header = [
        "ranks",
        "collective",
        "memory",
        "sizes",
        "worst",
        "at",
        "median",
        "must (aim)",
        "verdict",
        "from C ÷ HAL",
    ]
    return f"## Summary\n\n{text}\n\n" + table(header, [_line(cell) for cell in found])


def _cell(report: Report, name: str, rows: list[Row], key: tuple[int, str, str, str, int]) -> Cell:
    ranks, collective, form, _, index = key
    ratios, limits = [], []
    for row in rows:
        entry = row.entries[name]
        assert entry.ratio is not None
        ratios.append(entry.ratio.median)
        times = [
            each.microseconds.median
            for limit in report.named("limit")
            if (each := row.entries.get(limit)) is not None and each.microseconds is not None
        ]
        if times and entry.microseconds is not None and entry.microseconds.median > 0:
            limits.append(min(times) / entry.microseconds.median)
    memory = name.removeprefix("hal-")
    sizes = tuple(row.case.bytes for row in rows)
    from_c = statistics.median(limits) if limits else None
    return Cell(ranks, collective, form, memory, index, tuple(ratios), sizes, from_c)


def _line(cell: Cell) -> list[str]:
    form = f", {cell.form.replace('_', ' ')}" if len(FORMS[cell.collective]) > 1 else ""
    low, high = RANGES[cell.index]
    sizes = f"{show_bytes(low)} to {show_bytes(high)}" if low > 1 else f"to {show_bytes(high)}"
    if cell.collective == "barrier":
        sizes = "–"
    wanted = "–" if cell.target is None else f"{cell.target.must:g} ({cell.target.aim:g})"
    return [
        str(cell.ranks),
        f"{cell.collective}{form}",
        cell.memory,
        sizes,
        f"**{cell.worst:.2f}**",
        show_bytes(cell.worst_size) if cell.worst_size else "–",
        f"{statistics.median(cell.ratios):.2f}",
        wanted,
        cell.verdict,
        "–" if cell.from_c is None else f"{cell.from_c:.2f}",
    ]
