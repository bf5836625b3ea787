"""Which moves of a plan complete a reduction: their result is where an average is divided.

A plan does not say so, and has to be followed to know. It is run here once on numbers that stand for contributions:
every rank's input is of random 64-bit integers, and a sum of them modulo 2^64 equals that of all ranks' contributions
to some element by chance alone once in 2^64. The order in which blocks take turns has no meaning, for in a plan whose
result depends on it nothing is gained by an average. A chunk is a few units long, so many that all parts of operands
are equal; then a loop has one piece.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hal.interface.dtypes import ReduceOp
from hal.plan.collective import Collective
from hal.plan.ends import other_ends
from hal.plan.model import (
    Acquire,
    Barrier,
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
from hal.plan.text import Path, numbered

MOST_UNITS = 1 << 22
"""Of all buffers together; a larger plan is not followed."""
MOST_MOVED = 1 << 22
"""Units read and written by all moves together."""
MOST_INSTRUCTIONS = 1 << 16
MOST_TURNS = 1 << 20
"""Turns that blocks are given, also where they have to wait."""
LONGEST_CHUNK = 1 << 12
"""Units of a chunk."""

Units = NDArray[np.uint64]
Place = tuple[int, int, Path]
"""Rank, block and path of an instruction."""


class Undecided(Exception):  # noqa: N818 -- not an error: a plan runs without
    """Why it cannot be said which moves complete the reduction."""


def with_final_moves(plan: Plan) -> Plan:
    """The plan with its completing moves marked; `Undecided` where there is no saying which they are."""
    moves = [i for rank in plan.ranks for block in rank.blocks for _, i in numbered(block) if isinstance(i, Move)]
    if not any(m.op is None and (len(m.src) > 1 or m.src[0].switch is not None) for m in moves):
        return plan
    final = _Walk(plan).final()

    def marked(each: Instruction, place: Place) -> Instruction:
        if isinstance(each, Loop):
            rank, block, path = place
            body = tuple(marked(inner, (rank, block, (*path, i))) for i, inner in enumerate(each.body))
            return dataclasses.replace(each, body=body)
        return dataclasses.replace(each, final=True) if isinstance(each, Move) and place in final else each

    ranks = tuple(
        dataclasses.replace(
            rank,
            blocks=tuple(
                tuple(marked(each, (number, index, (at,))) for at, each in enumerate(block))
                for index, block in enumerate(rank.blocks)
            ),
        )
        for number, rank in enumerate(plan.ranks)
    )
    return dataclasses.replace(plan, ranks=ranks)


class _Walk:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        parts = {1}
        work = moved = 0
        for rank in plan.ranks:
            for block in rank.blocks:
                for _, each in numbered(block):
                    work += 1
                    if isinstance(each, Move | Post):
                        parts.add(each.parts)
                        spans = (*each.dst, *each.src) if isinstance(each, Move) else (each.dst, each.src)
                        members = sum(1 if s.switch is None else len(rank.channels[s.switch].peers) for s in spans)
                        moved += spans[0].size * members
        self.chunk = 1
        for count in parts:
            if self.chunk <= LONGEST_CHUNK:
                self.chunk = math.lcm(self.chunk, count)
        chunks = sum(r.input_chunks + r.output_chunks + 2 * r.scratch_chunks for r in plan.ranks)
        if (
            self.chunk > LONGEST_CHUNK
            or work > MOST_INSTRUCTIONS
            or chunks * self.chunk > MOST_UNITS
            or moved * self.chunk > MOST_MOVED
        ):
            raise Undecided("the plan is too large to be followed")
        chance = np.random.default_rng(0x5EED)
        self.buffers: dict[tuple[int, BufferKind], Units] = {}
        self.packets: dict[int, tuple[Units, NDArray[np.bool_]]] = {}
        self.full = self._fill(chance)
        self.chance = chance
        self.signals: Counter[tuple[int, int]] = Counter()
        self.waits: Counter[tuple[int, int]] = Counter()
        self.ends = other_ends(plan)
        self.semaphores = [list(rank.semaphores) for rank in plan.ranks]
        self.arrivals: Counter[tuple[int, int]] = Counter()
        self.completing: dict[Place, bool] = {}

    def _fill(self, chance: np.random.Generator) -> Units:
        """Make the buffers, inputs filled; the sums of all ranks' contributions, in ascending order."""
        total: Units | None = None
        for number, rank in enumerate(self.plan.ranks):
            sizes = [n * self.chunk for n in (rank.input_chunks, rank.output_chunks, rank.scratch_chunks)]
            values = _noise(chance, sizes[0])
            total = values.copy() if total is None else total
            if len(total) != len(values):
                raise Undecided("inputs differ in length")
            if number:
                total += values
            output = _noise(chance, sizes[1])
            if self.plan.aliased:
                values, output = self._shared(number, values, output)
            self.buffers[number, BufferKind.INPUT] = values
            self.buffers[number, BufferKind.OUTPUT] = output
            self.buffers[number, BufferKind.SCRATCH] = _noise(chance, sizes[2])
            self.packets[number] = (_noise(chance, sizes[2]), np.zeros(sizes[2], np.bool_))
        assert total is not None
        return np.sort(total)

    def _shared(self, rank: int, values: Units, output: Units) -> tuple[Units, Units]:
        block = self.plan.split * self.chunk
        if len(values) == len(output):
            return values, values
        if len(values) < len(output):
            own = output[rank * block : (rank + 1) * block]
            own[:] = values
            return own, output
        return values, values[rank * block : (rank + 1) * block]

    def final(self) -> set[Place]:
        """The moves whose result is complete where no source was."""
        blocks = {
            (number, index): self._block(number, index)
            for number, rank in enumerate(self.plan.ranks)
            for index in range(len(rank.blocks))
        }
        turns = 0
        while blocks:
            progress = False
            turns += len(blocks)
            for key, block in list(blocks.items()):
                while (going := next(block, None)) is not None and going:
                    progress = True
                if going is None:
                    progress = True
                    del blocks[key]
            if not progress:
                raise Undecided("the plan comes to no end")
            if turns > MOST_TURNS:
                raise Undecided("the plan is too large to be followed")
        return {place for place, completes in self.completing.items() if completes}

    def _block(self, rank: int, number: int) -> Iterator[bool]:
        """Run a block: True after each instruction, False while one has to wait."""
        for path, each in numbered(self.plan.ranks[rank].blocks[number]):
            for _ in self._until(rank, each):
                yield False
            self._run(rank, number, path, each)
            yield True

    def _until(self, rank: int, each: Instruction) -> Iterator[None]:
        if isinstance(each, Wait):
            for channel in each.channels:
                self.waits[rank, channel] += 1
            while any(self.signals[rank, c] < self.waits[rank, c] for c in each.channels):
                yield
        elif isinstance(each, Acquire):
            while not self.semaphores[rank][each.semaphore]:
                yield
            self.semaphores[rank][each.semaphore] -= 1
        elif isinstance(each, Barrier):
            key = (rank, each.id)
            full = (self.arrivals[key] // each.blocks + 1) * each.blocks
            self.arrivals[key] += 1
            while self.arrivals[key] < full:
                yield
        elif isinstance(each, Move | Post):
            sources = each.src if isinstance(each, Move) else (each.src,)
            while not all(self.packets[m][1][self._slice(s, each)].all() for m, s in self._packets(rank, sources)):
                yield

    def _packets(self, rank: int, spans: Sequence[Span]) -> list[tuple[int, Span]]:
        return [(m, s) for s in spans if s.packet for m in self._owners(rank, s)]

    def _owners(self, rank: int, span: Span) -> tuple[int, ...]:
        if span.switch is not None:
            return self.plan.ranks[rank].channels[span.switch].peers
        return (rank if span.peer is None else span.peer,)

    def _slice(self, span: Span, each: Move | Post) -> slice:
        first, size = span.index * self.chunk, span.size * self.chunk
        part = size // each.parts  # the chunk is a multiple of all numbers of parts
        return slice(first + each.part * part, first + (each.part + 1) * part)

    def _run(self, rank: int, number: int, path: Path, each: Instruction) -> None:
        match each:
            case Move():
                self._move(rank, each, (rank, number, path))
            case Post():
                peer = self.plan.ranks[rank].channels[each.channel].peer
                self._store(peer, each.dst, each, self._memory(rank, each.src)[self._slice(each.src, each)])
                if each.signal:
                    self.signals[self.ends[rank, each.channel]] += 1
            case Signal():
                for channel in each.channels:
                    self.signals[self.ends[rank, channel]] += 1
            case Release():
                self.semaphores[rank][each.semaphore] += 1
            case _:
                pass

    def _move(self, rank: int, move: Move, place: Place) -> None:
        sources = [self._memory(m, s)[self._slice(s, move)] for s in move.src for m in self._owners(rank, s)]
        result = sources[0].copy()
        for source in sources[1:]:
            result += source
        if len(sources) > 1 and move.op not in (None, ReduceOp.SUM):
            result = _noise(self.chance, len(result))
        complete = self._complete(result)
        had = np.zeros(len(result), np.bool_)
        for source in sources:
            had |= self._complete(source)
        here = complete & ~had & (move.op is None)
        if here.any() and not here.all():
            raise Undecided(f"rank {place[0]}, block {place[1]}: one move completes a part of what it moves")
        if len(result):
            completes = bool(here.all())
            if self.completing.setdefault(place, completes) != completes:
                raise Undecided(f"rank {place[0]}, block {place[1]}: a move completes what it moves at times")
        for span in move.dst:
            for member in self._owners(rank, span):
                self._store(member, span, move, result)

    def _store(self, member: int, span: Span, each: Move | Post, values: Units) -> None:
        at = self._slice(span, each)
        self._memory(member, span)[at] = values
        if span.packet:
            self.packets[member][1][at] = True

    def _memory(self, member: int, span: Span) -> Units:
        return self.packets[member][0] if span.packet else self.buffers[member, span.buffer]

    def _complete(self, values: Units) -> NDArray[np.bool_]:
        at = np.searchsorted(self.full, values)
        found: NDArray[np.bool_] = self.full[np.minimum(at, len(self.full) - 1)] == values
        return found


def _noise(chance: np.random.Generator, size: int) -> Units:
    made: Units = chance.integers(0, 1 << 64, size, np.uint64)
    return made


def reduces(plan: Plan) -> bool:
    """Whether an average has a meaning in this plan."""
    return Collective.of(plan.collective).reduces
