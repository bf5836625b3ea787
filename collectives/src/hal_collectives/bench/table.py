"""The table of nccl-tests, column by column: what reads theirs reads this.

With more than one collective a column with its name comes first, which theirs, one program a collective, lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hal.interface.dtypes import DType
from hal_collectives.bench.report import Report, Result, Row
from hal_collectives.bench.settings import Settings

_NAME_WIDTH = 14

# nccl-tests' names of the element types, where they are not ours
_TYPE_NAMES = {
    DType.FLOAT16: "half",
    DType.FLOAT32: "float",
    DType.FLOAT64: "double",
    DType.FLOAT8_E4M3: "f8e4m3",
    DType.FLOAT8_E5M2: "f8e5m2",
}


def preamble(settings: Settings, ranks: Sequence[dict[str, Any]]) -> list[str]:
    """The lines before the table: the settings, and where each rank runs (`environment.describe_ranks`)."""
    step = f"{settings.factor}(factor)" if settings.factor is not None else f"{settings.step}(bytes)"
    return [
        f"# nRanks {len(ranks)} minBytes {settings.min_bytes} maxBytes {settings.max_bytes} step: {step} "
        f"warmup iters: {settings.warmup} iters: {settings.iterations} rounds: {settings.rounds} "
        f"validation: {int(settings.validate)} buffers: {'mapped' if settings.mapped else 'plain'}",
        "#",
        "# Using devices",
        *(
            f"#  Rank {number:2d} Pid {rank['pid']:6d} on {rank['host']:>10} device {rank['backend']}"
            for number, rank in enumerate(ranks)
        ),
        "#",
    ]


def header(*, named: bool = False) -> list[str]:
    """The three lines over the columns. `named` adds the column with the collective's name."""
    half = ("time", "algbw", "busbw", "#wrong")
    units = ("(us)", "(GB/s)", "(GB/s)", "")
    blank = (" " * 10, " " * 12, " " * 8, " " * 6, " " * 6)
    lines = [
        "  ".join(blank) + "           out-of-place                       in-place          ",
        _columns(("size", "count", "type", "redop", "root"), half),
        _columns(("(B)", "(elements)", "", "", ""), units),
    ]
    names = ("", "collective", "") if named else None
    return [f"# {names[i]:<{_NAME_WIDTH}}{line}" if names else f"# {line}" for i, line in enumerate(lines)]


def line(row: Row, *, named: bool = False) -> str:
    """One row."""
    root = row.root if row.root is not None else -1
    first = f"{row.size:10d}  {row.count:12d}  {_type_name(row):>8}  {row.redop or 'none':>6}  {root:6d}"
    name = f"{row.collective:<{_NAME_WIDTH}}" if named else ""
    return f"  {name}{first}{_half(row.out_of_place)}{_half(row.in_place)}"


def closing(report: Report) -> list[str]:
    """The lines after the table."""
    failures = report.failures
    return [
        f"# Out of bounds values : {failures} {'FAILED' if failures else 'OK'}",
        f"# Avg bus bandwidth    : {report.average_bus_bandwidth:g} ",
        "#",
    ]


def _columns(first: Sequence[str], half: Sequence[str]) -> str:
    size, count, kind, redop, root = first
    time, algbw, busbw, wrong = half
    # «#wrong» is a character wider than its numbers, so it stands one to the left
    both = 2 * f"  {time:>7}  {algbw:>6}  {busbw:>6} {wrong:>6}"
    return f"{size:>10}  {count:>12}  {kind:>8}  {redop:>6}  {root:>6}{both}"


def _half(result: Result | None) -> str:
    if result is None:
        return f"  {'N/A':>7}  {'N/A':>6}  {'N/A':>6}  {'N/A':>5}"
    wrong = "N/A" if result.wrong is None else str(result.wrong)
    return f"  {_time(result.time_us):>7}  {result.algbw:6.2f}  {result.busbw:6.2f}  {wrong:>5}"


def _time(microseconds: float) -> str:
    if microseconds >= 10000:
        return f"{microseconds:.0f}"
    return f"{microseconds:.1f}" if microseconds >= 100 else f"{microseconds:.2f}"


def _type_name(row: Row) -> str:
    if not row.count:
        return "none"
    dtype = DType.of(row.dtype)
    return _TYPE_NAMES.get(dtype, dtype.label)
