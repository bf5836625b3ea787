"""The page people read: what was predicted and what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One case: seconds predicted and measured, the latter a median over rounds of the slowest rank."""

    collective: str
    algorithm: str
    ranks: int
    nbytes: int
    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        """Predicted by measured: above 1 the simulator is too slow."""
        return self.predicted / self.measured


def write_page(path: Path, machine: Mapping[str, Any], topology: str, rows: Sequence[Row], command: str) -> None:
    """Write the page."""
    cells = [
        (
            f"{row.collective} {row.algorithm}",
            str(row.ranks),
            _bytes(row.nbytes),
            f"{row.predicted * 1e6:.4g}",
            f"{row.measured * 1e6:.4g}",
            f"{row.ratio:.2f}",
        )
        for row in rows
    ]
    text = f"""# The simulator beside the host

Measured on {machine["date"]} on {machine["cpu"]}, {machine["cores"]} cores, by `{command}`. The command measures
latency, signalling, copying and reducing with the host backend by plans of one kind of instruction each, writes the
topology below from these times, and then compares what the [simulator](../simulator.md) predicts on it with what whole
collectives take. No number of the comparison is used for the topology. Times are of one launch, called from Python.

## All in all

{_table(("ranks", "cases", "median ratio", "quartiles", "within a factor of 2"), _summary(rows))}

The ratio is predicted by measured time. With more ranks than cores the host also pays for taking turns, which the model
leaves out.

## Topology

```yaml
{topology.rstrip()}
```

## Cases

{_table(("algorithm", "ranks", "size", "predicted µs", "measured µs", "ratio"), cells)}
"""
    path.write_text(text)


def _summary(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for ranks in sorted({row.ranks for row in rows}):
        ratios = sorted(row.ratio for row in rows if row.ranks == ranks)
        near = sum(0.5 <= ratio <= 2 for ratio in ratios)
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        median = statistics.median(ratios)
        found.append(
            (str(ranks), str(len(ratios)), f"{median:.2f}", f"{low:.2f}–{high:.2f}", f"{near / len(ratios):.0%}")
        )
    return found


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bytes(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:g} {unit}"
    return f"{count} B"
