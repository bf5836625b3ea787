"""Shadow memory: for every range of bytes of a buffer what it holds, who wrote it, and who has read it since.

A block's time is counted in epochs: every instruction but a move ends one. An access of block b in epoch e is before
whatever happens at a clock whose entry for b is greater than e (vector clocks; the state kept for each range is that of
FastTrack, Flanagan and Freund 2009, with all readers kept).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from hal.plan.verify.value import Value, shifted

Past = frozenset[tuple[int, int, int]]
"""Readings: the step, the memory (by identity) and the first byte read there."""

NOTHING: Past = frozenset()


class Segment:
    """A range of bytes that was always accessed as a whole."""

    __slots__ = ("end", "epoch", "past", "reads", "start", "step", "value", "writer")

    def __init__(self, start: int, end: int, value: Value | None) -> None:
        self.start = start
        self.end = end
        self.value = value
        self.writer = -1
        """The block that wrote it last; -1 where none has."""
        self.epoch = 0
        self.step = -1
        self.reads: dict[int, tuple[int, int]] = {}
        """For each block that has read it since: the epoch and the step of its last reading."""
        self.past = NOTHING
        """Of packets: the readings that lie behind the data."""


class Shadow:
    """The shadow of one buffer of one rank, cut at the given places from the beginning."""

    def __init__(self, size: int, cuts: Iterable[int] = ()) -> None:
        self.size = size
        self._starts = sorted({0, *(cut for cut in cuts if 0 < cut < size)})
        ends = [*self._starts[1:], size]
        self._at = {start: Segment(start, end, None) for start, end in zip(self._starts, ends, strict=True)}

    def segments(self) -> list[Segment]:
        """All segments in order."""
        return [self._at[start] for start in self._starts]

    def cover(self, start: int, end: int) -> list[Segment]:
        """The segments that make up exactly this range; those that reach beyond it are cut."""
        segment = self._at.get(start)
        if segment is None:
            segment = self._cut(start)
        if segment.end == end:
            return [segment]
        if end < segment.end:
            self._cut(end)
            return [segment]
        if end not in self._at and end < self.size:
            self._cut(end)
        first = bisect_left(self._starts, start)
        return [self._at[s] for s in self._starts[first : bisect_left(self._starts, end, first)]]

    def _cut(self, place: int) -> Segment:
        """Cut the segment around `place` in two there; returns the second."""
        index = bisect_right(self._starts, place)
        first = self._at[self._starts[index - 1]]
        second = Segment(place, first.end, None)
        if first.value is not None:
            second.value = shifted(first.value, place - first.start)
        second.writer, second.epoch, second.step = first.writer, first.epoch, first.step
        if first.reads:
            second.reads = dict(first.reads)
        if first.past:
            ahead = place - first.start
            second.past = frozenset((step, memory, start + ahead) for step, memory, start in first.past)
        first.end = place
        self._starts.insert(index, place)
        self._at[place] = second
        return second
