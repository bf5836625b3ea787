"""The layouts under which a plan is examined, so that what holds for them holds for every count.

Moves work element by element, and an element of a chunk meets the same instructions at every count, as long as its
piece exists. A shorter chunk takes accesses away and adds none: signals and waits outside of loops happen all the same.
What depends on lengths is examined at the least favourable ones:

* One chunk longer than the others and the last cut short, so that no chunk begins in scratch where a denser cut would
  put it.
* Loops of one piece, in which no later piece orders what this one did, and of `slots + 1`, so that a slot of a ring is
  used again. All operands of one length end in the same piece: one that ended earlier would profit from the signals of
  the pieces after it. The order between pieces i and i + slots is the same for all i, since a path of signals from one
  to the other lies between them and is repeated by every later pair.
* Where channels or semaphores are used outside of loops too, their signals and waits are shifted against each other by
  as many pieces: loops of every number of pieces up to that shift, and longer ones by that much.
* Loops of no piece at all, whose signals do not happen, while chunks that no loop goes through have data.
* Parts of moves, which may be cut between other parts or not, depending on the remainder of a division: all remainders,
  for chunks of fewer and of more units than there are parts. Where no range is cut in two ways one layout will do.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from hal.plan.layout import SCRATCH_ALIGN, Layout
from hal.plan.model import (
    Acquire,
    BufferKind,
    Instruction,
    Loop,
    Move,
    Plan,
    Post,
    Release,
    Signal,
    Span,
    Wait,
)

MOST_LAYOUTS = 64
"""Layouts that are examined at most; a plan that needs more is refused."""

Size = tuple[int, int, bool]
"""Units of `plan.align` in every chunk, how many chunks have one more, and whether the last is cut short."""


def representative(plan: Plan) -> list[Layout]:
    """The layouts to examine a valid plan under; at most `MOST_LAYOUTS + 1`, which are too many."""
    found: dict[Size, None] = {}
    for size in _sizes(plan):
        found[size] = None
        if len(found) > MOST_LAYOUTS:
            break
    return [_layout(plan, size) for size in found]


def _layout(plan: Plan, size: Size) -> Layout:
    units, longer, short = size
    whole = (plan.split * units + longer) * plan.align
    return Layout.uniform(plan, whole - (plan.align // 2 + 1 if short else 0), 1)


def _sizes(plan: Plan) -> Iterator[Size]:
    loops = _loops(plan)
    longer = int(plan.split > 1 and not plan.even)
    short = plan.align > 2 and not plan.even
    for loop in loops:
        yield from _without_pieces(plan, loop)
    most = 0
    for loop in loops:
        for pieces in sorted({*range(1, loop.shift + 2), loop.slots + 1 + loop.shift}):
            # the longest operand has as many pieces, and at the end the shortest too
            units = int(pieces * loop.unit / loop.longest) // plan.align - longer
            last = plan.align * units - (plan.align // 2 + 1) * short
            if units > 0 and last * loop.longest > (pieces - 1) * loop.unit:
                yield units, longer, short
            else:
                yield max(1, units), longer, short
                yield math.ceil(pieces * loop.unit / loop.longest / plan.align), 0, False
        if loop.shortest < loop.longest:
            yield math.ceil((loop.slots + 1 + loop.shift) * loop.unit / loop.shortest / plan.align) + 1, longer, short
        most = max(most, math.ceil((loop.slots + 1 + loop.shift) * loop.unit / loop.shortest / plan.align))
    period = _period(plan)
    parts = max((each.parts for _, each in _moves(plan)), default=1)
    if period == 1:
        units = max(2, most if parts > 1 else 0, 2 * parts if parts > 1 else 0)
        # never such that chunks in scratch, which begin at multiples of some bytes, begin where the data end
        units += (units + longer) * plan.align % SCRATCH_ALIGN == 0
        if not loops or parts > 1 or plan.scratch_chunk_bytes is None:
            yield units, longer, short
        if plan.even:
            yield 1, 0, False
        return
    for units in range(1, 2 * period + 1):
        for longer in range(1 if plan.even else plan.split):
            yield units, longer, False
            if most:
                yield units + most, longer, False


# -- loops


@dataclass
class _Loops:
    """All loops of one unit."""

    unit: int
    slots: int = 1
    shift: int = 0
    """By how many pieces signals and their waits may be apart."""
    lengths: set[Fraction] = field(default_factory=set)
    """Lengths of the operands, in chunks."""
    first: int | None = None
    """The first piece of a count that any of them goes through."""

    @property
    def longest(self) -> Fraction:
        return max(self.lengths, default=Fraction(1))

    @property
    def shortest(self) -> Fraction:
        return min(self.lengths, default=Fraction(1))


def _loops(plan: Plan) -> list[_Loops]:
    found: dict[int, _Loops] = {}
    for loop, each in _moves(plan):
        if loop is None:
            continue
        entry = found.setdefault(loop.unit, _Loops(loop.unit))
        entry.slots = max(entry.slots, loop.slots)
        for span in _spans(each):
            if plan.even or span.buffer is not BufferKind.SCRATCH:
                entry.lengths.add(Fraction(span.size, each.parts))
                last = span.index % plan.split + span.size
                first = 0 if last > plan.split else span.index % plan.split
                entry.first = first if entry.first is None else min(first, entry.first)
    shift = _shift(plan)
    for entry in found.values():
        entry.shift = shift
    return list(found.values())


def _without_pieces(plan: Plan, loop: _Loops) -> Iterator[Size]:
    """Counts at which a loop has no piece: of as many units as lie before the first that it goes through."""
    if plan.even or not loop.first:
        if loop.shift:
            yield 0, 0, False
    else:
        yield 0, loop.first, False


def _shift(plan: Plan) -> int:
    """The most that any channel or semaphore which loops use is used outside of them."""
    inside: set[object] = set()
    outside: Counter[object] = Counter()
    for number, rank in enumerate(plan.ranks):
        outside.update({("semaphore", number, index): initial for index, initial in enumerate(rank.semaphores)})
        for block in rank.blocks:
            for loop, each in _with_loops(block):
                for key in _uses(plan, number, each):
                    if loop is None:
                        outside[key] += 1
                    else:
                        inside.add(key)
    return max((outside[key] for key in inside), default=0)


def _uses(plan: Plan, rank: int, each: Instruction) -> Iterable[object]:
    match each:
        case Signal(channels=channels) | Wait(channels=channels):
            return [(type(each).__name__, rank, channel) for channel in channels]
        case Post(signal=True, channel=channel):
            return [("Signal", rank, channel)]
        case Acquire(semaphore=semaphore) | Release(semaphore=semaphore):
            return [("semaphore", rank, semaphore)]
        case _:
            return []


# -- parts


def _period(plan: Plan) -> int:
    """After how many units a chunk the cuts of parts repeat; 1 where no range is cut in two ways."""
    ranges: defaultdict[BufferKind, set[tuple[int, int, int]]] = defaultdict(set)
    for _, each in _moves(plan):
        for span in _spans(each):
            ranges[span.buffer].add((span.index, span.size, each.parts))
    mixed = any(_clash(found) for found in ranges.values())
    return math.lcm(*(each.parts for _, each in _moves(plan))) if mixed else 1


def _clash(ranges: set[tuple[int, int, int]]) -> bool:
    cut = [r for r in ranges if r[2] > 1]
    for index, size, parts in cut:
        for other, extent, pieces in ranges:
            same = (other, extent) == (index, size) and pieces == parts
            apart = other + extent <= index or index + size <= other
            around = pieces == 1 and other <= index and index + size <= other + extent
            if not (same or apart or around):
                return True
    return False


# -- walking


def _with_loops(block: Iterable[Instruction]) -> Iterator[tuple[Loop | None, Instruction]]:
    for instruction in block:
        if isinstance(instruction, Loop):
            for inner in instruction.body:
                yield instruction, inner
        else:
            yield None, instruction


def _moves(plan: Plan) -> Iterator[tuple[Loop | None, Move | Post]]:
    for rank in plan.ranks:
        for block in rank.blocks:
            for loop, each in _with_loops(block):
                if isinstance(each, Move | Post):
                    yield loop, each


def _spans(each: Move | Post) -> tuple[Span, ...]:
    return (each.dst, each.src) if isinstance(each, Post) else (*each.dst, *each.src)
