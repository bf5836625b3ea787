"""The picture of a timeline, before any library draws it: a row for each block and port of each rank."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hal.interface.errors import UsageError
from hal.plan.draw.colours import KINDS
from hal.plan.draw.space_time import size_text
from hal.plan.text import path_text
from hal.plan.timeline import Interval, Timeline

MOST_BARS = 50_000
"""More than these no page would show."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One interval: its row, and its begin and length in microseconds."""

    row: int
    start: float
    length: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Gantt:
    """What is drawn: names of the rows from the top, and the bars by their kind, in the order of `colours.KINDS`."""

    title: str
    notes: str
    rows: Sequence[str]
    bars: Mapping[str, Sequence[Bar]]
    length: float
    """Microseconds from the first start to the last end."""


def gantt(timeline: Timeline, ranks: Collection[int] | None = None) -> Gantt:
    """Lay out a timeline, or the given ranks of it.

    `UsageError` for a rank that it does not have, where it has no intervals, and where there are too many to be seen.
    """
    there = {i.rank for i in timeline.intervals}
    for rank in sorted(ranks or ()):
        if rank not in there:
            known = ", ".join(map(str, sorted(there)))
            raise UsageError(f"the timeline of {timeline.name!r} has no rank {rank}: it has {known}")
    intervals = [i for i in timeline.intervals if ranks is None or i.rank in ranks]
    if not intervals:
        raise UsageError(f"the timeline of {timeline.name!r} has nothing to draw")
    if len(intervals) > MOST_BARS:
        raise UsageError(
            f"the timeline of {timeline.name!r} has {len(intervals)} intervals, at most {MOST_BARS} can be drawn: "
            "choose ranks with --rank"
        )
    keys = sorted({_row(i) for i in intervals})
    numbers = {key: number for number, key in enumerate(keys)}
    begin = min(i.start for i in intervals)
    bars: dict[str, list[Bar]] = {kind: [] for kind in KINDS}
    for i in sorted(intervals, key=lambda i: (i.start, i.end, _row(i), i.path)):
        kind = "delivery" if i.port is not None else i.kind
        bars[kind].append(Bar(numbers[_row(i)], (i.start - begin) * 1e6, (i.end - i.start) * 1e6, i))
    length = (max(i.end for i in intervals) - begin) * 1e6
    title = f"{timeline.name}: {length:.4g} µs"
    return Gantt(title, timeline.source, [_name(*key) for key in keys], {k: b for k, b in bars.items() if b}, length)


def facts(bar: Bar) -> Sequence[str]:
    """What a page says of a bar, line by line."""
    i = bar.interval
    lines = [i.text, f"rank {i.rank}, block {i.block}, instruction {path_text(i.path)}"]
    lines.append(f"{bar.start:.3f} µs, for {bar.length:.3f} µs")
    if i.nbytes:
        rate = f", {i.nbytes / bar.length / 1e3:.3g} GB/s" if bar.length > 0 else ""
        lines.append(f"{size_text(i.nbytes)}{rate}")
    return lines


def _row(interval: Interval) -> tuple[int, bool, int]:
    return interval.rank, interval.port is not None, interval.block if interval.port is None else interval.port


def _name(rank: int, is_port: bool, number: int) -> str:
    return f"rank {rank}, {'port' if is_port else 'block'} {number}"
