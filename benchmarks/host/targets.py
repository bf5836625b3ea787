"""What HAL is to reach: the time of the best of the others divided by its own, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20
RANGES = ((1, 4 * KIB), (16 * KIB, 4 * MIB), (16 * MIB, 128 * MIB))
"""Bytes from and to, both included; barrier, which has none, counts in the first."""


@dataclass(frozen=True)
class Target:
    """What every ratio of a cell must reach, and what it aims at."""

    must: float
    aim: float


def _row(*pairs: tuple[float, float]) -> tuple[Target, ...]:
    return tuple(Target(*pair) for pair in pairs)


_TWO_REGISTERED = _row((3.5, 6), (4, 6), (3, 4))
_TWO_PLAIN = _row((3.5, 6), (1.3, 2), (1.3, 2))
_TWO_SCATTERED = _row((3, 5), (1.5, 4), (1.5, 4))
_TWO_OTHERS = _row((2, 5), (1.0, 1.5), (1.0, 1.6))
_TWO_BARRIER = _row((1.5, 3))
_MORE_REDUCED = _row((1.3, 3), (1.3, 4), (2.5, 4))
_MORE_OTHERS = _row((1.3, 3), (1.3, 4), (1.0, 1.5))


def size_range(nbytes: int) -> int | None:
    """The index of the range of a size; None between two of them."""
    return next((i for i, (low, high) in enumerate(RANGES) if low <= max(nbytes, 1) <= high), None)


def target(collective: str, ranks: int, form: str, memory: str, index: int) -> Target | None:
    """The target of a cell; None where there is none. `memory` is plain or registered, `index` that of the range."""
    if ranks == 2:
        if collective == "barrier":
            row = _TWO_BARRIER
        elif collective == "all_reduce":
            row = _TWO_REGISTERED if memory == "registered" and form == "in_place" else _TWO_PLAIN
        else:
            row = _TWO_SCATTERED if collective == "reduce_scatter" else _TWO_OTHERS
    else:
        row = _MORE_REDUCED if collective in ("all_reduce", "reduce_scatter") else _MORE_OTHERS
    return row[index] if index < len(row) else None
