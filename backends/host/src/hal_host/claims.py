"""Which moves claim what they read: take the lines of scratch from the cache of the rank that owns them.

Reading leaves a line in two caches, and its owner, who writes it next, waits until the other's copy is gone: several
times as long as it takes to fetch a line that one cache alone holds, and more where cores are far apart. A reader
that writes to the line as well leaves it in its own cache alone. It may where nobody else reads what lies there, and it
does not do so again: what it writes then matters to nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hal.plan.lower import walk
from hal.plan.memo import once_per_plan
from hal.plan.model import BufferKind, Move, Plan, Post, Span


@dataclass(frozen=True)
class Claims:
    """What the moves of a plan may claim."""

    moves: list[list[list[int]]]
    """For each rank and block the positions of the moves that claim the scratch of others that they read."""
    all: bool
    """Whether all do that read the scratch of others, packets apart, or write their results there by themselves."""


@once_per_plan
def claims(plan: Plan) -> Claims:
    """Find the moves that read chunks of others' scratch which no other move reads."""
    reads: Counter[tuple[int, int]] = Counter()
    for rank, ours in enumerate(plan.ranks):
        for block in ours.blocks:
            for instruction in walk(block):
                if isinstance(instruction, Move | Post):
                    sources = instruction.src if isinstance(instruction, Move) else (instruction.src,)
                    reads.update(_chunks(rank, sources))
    found = True
    moves: list[list[list[int]]] = []
    for rank, ours in enumerate(plan.ranks):
        moves.append([])
        for block in ours.blocks:
            moves[-1].append([])
            for position, move in enumerate(walk(block)):
                if not isinstance(move, Move):
                    continue
                others = [s for s in move.src if s.peer not in (None, rank) and s.buffer is BufferKind.SCRATCH]
                foreign = [span for span in others if span not in move.dst]  # what it writes is its own anyway
                if any(span.packet for span in move.src) or not foreign:
                    continue
                if all(reads[chunk] == 1 for chunk in _chunks(rank, foreign)):
                    moves[-1][-1].append(position)
                else:
                    found = False
    return Claims(moves, found)


def _chunks(rank: int, spans: Iterable[Span]) -> Iterator[tuple[int, int]]:
    """The owner and the index of each chunk of scratch."""
    for span in spans:
        if span.buffer is BufferKind.SCRATCH:
            owner = rank if span.peer is None else span.peer
            yield from ((owner, index) for index in range(span.index, span.index + span.size))
