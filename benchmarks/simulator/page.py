"""The page people read: what was predicted and what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.simulator.bench import Row


@dataclass(frozen=True)
class Comparison:
    """What `hal bench` measured, and the seconds that were predicted."""

    row: Row
    predicted: float

    @property
    def ratio(self) -> float:
        """Predicted by measured: above 1 the simulator is too slow."""
        return self.predicted / self.row.seconds


def write_page(
    path: Path,
    machine: Mapping[str, Any],
    topologies: Mapping[int, str],
    found: Sequence[Comparison],
    calibrating: Sequence[tuple[str, str]],
    command: str,
) -> None:
    """Write the page."""
    cells = [
        (
            f"{one.row.case.collective} {one.row.case.algorithm}",
            str(one.row.case.ranks),
            _bytes(one.row.nbytes),
            f"{one.predicted * 1e6:.4g}",
            f"{one.row.seconds * 1e6:.4g}",
            f"{one.ratio:.2f}",
        )
        for one in found
    ]
    texts = "\n".join(f"```yaml\n{text.rstrip()}\n```\n" for text in topologies.values())
    text = f"""# The simulator beside the host

Measured on {machine["date"]} on {machine["cpu"]}, {machine["cores"]} cores, by `{command}`. All times are those of
`hal bench` on the host backend, with one algorithm pinned, in registered memory and out of place. For each number of
ranks the command fits the topology below to

{_listed(calibrating)}
- a barrier and an all_gather of one rank, which are the call itself and a copy.

Then it compares what the [simulator](../simulator.md) predicts on it with what other algorithms take. No number of the
comparison is used for the topology. Predicted is one call by itself; measured are calls in a row, which overlap where a
plan lets ranks run ahead.

## All in all

{_table(("ranks", "cases", "median ratio", "quartiles", "within a factor of 2"), _summary(found))}

The ratio is predicted by measured time. Each number of ranks has a topology of its own, because ranks beyond the cores
take turns, which the model knows of moves alone: what it costs to wait for a turn is in their latency and rates.

## Topologies

{texts}
## Cases

{_table(("algorithm", "ranks", "size", "predicted µs", "measured µs", "ratio"), cells)}
"""
    path.write_text(text)


def _listed(calibrating: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"- {collective} by `{algorithm}`;" for collective, algorithm in calibrating)


def _summary(found: Sequence[Comparison]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for ranks in sorted({one.row.case.ranks for one in found}):
        ratios = sorted(one.ratio for one in found if one.row.case.ranks == ranks)
        near = sum(0.5 <= ratio <= 2 for ratio in ratios)
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        median = statistics.median(ratios)
        lines.append(
            (str(ranks), str(len(ratios)), f"{median:.2f}", f"{low:.2f}–{high:.2f}", f"{near / len(ratios):.0%}")
        )
    return lines


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bytes(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} B"
