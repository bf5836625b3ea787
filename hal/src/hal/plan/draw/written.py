"""Which ranges of memory were written, each with the step of the data that lies there."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import TypeAlias

from hal.plan.model import BufferKind, Span

Place: TypeAlias = tuple[int, BufferKind]
"""A rank and one of its buffers."""

Range: TypeAlias = tuple[Fraction | int, Fraction | int]
"""Where an operand begins and ends, in chunks of its buffer."""


def range_of(span: Span, part: int, parts: int) -> Range:
    """The range of part `part` of `parts` of a span."""
    if parts == 1:  # nearly always, and integers are many times as fast
        return span.index, span.index + span.size
    share = Fraction(span.size, parts)
    return span.index + share * part, span.index + share * (part + 1)


class Written:
    """What was written so far, by ranges as they were written."""

    def __init__(self) -> None:
        # by chunk, so that looking up a range of a large buffer is short
        self._chunks: dict[tuple[Place, int], dict[Range, int]] = defaultdict(dict)

    def write(self, place: Place, where: Range, step: int) -> None:
        """Data of `step` was stored there."""
        for chunk in _chunks(where):
            self._chunks[place, chunk][where] = step

    def step(self, place: Place, where: Range) -> int:
        """The latest step of what lies there; 0 where nothing was written."""
        return max((step for _, step in self._within(place, where)), default=0)

    def covers(self, place: Place, where: Range) -> bool:
        """Whether all of it was written."""
        reached = where[0]
        for (begin, end), _ in sorted(self._within(place, where)):
            if begin > reached:
                return False
            reached = max(reached, end)
        return reached >= where[1]

    def _within(self, place: Place, where: Range) -> set[tuple[Range, int]]:
        found = set()
        for chunk in _chunks(where):
            for other, step in self._chunks.get((place, chunk), {}).items():
                if other[0] < where[1] and where[0] < other[1]:
                    found.add((other, step))
        return found


def _chunks(where: Range) -> range:
    return range(int(where[0]), -int(-where[1] // 1))
