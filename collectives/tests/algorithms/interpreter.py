"""Runs a plan on all ranks in this process, under a random schedule, and raises on every data race.

Each instruction is one step; which rank takes the next step is drawn at random. Vector clocks follow the order that
signals, packets and the launch contract establish: an access that is not ordered after an earlier conflicting one by
another rank is a race, whatever the values. So one schedule speaks for all of them. All data is float32.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal.plan.layout import Layout
from hal.plan.model import BufferKind, Instruction, Loop, Move, Plan, Signal, Span, Sync, Wait

Floats = NDArray[np.float32]
Clock = NDArray[np.int64]
ITEM = 4


class RaceError(AssertionError):
    pass


class DeadlockError(AssertionError):
    pass


class Memory:
    """Elements with, for each, the time of every rank's last write and last read."""

    def __init__(self, length: int, ranks: int) -> None:
        self.data = np.full(length, np.nan, np.float32)
        self.written = np.zeros((length, ranks), np.int64)
        self.read = np.zeros((length, ranks), np.int64)

    def load(self, part: slice, rank: int, now: Clock) -> Floats:
        if (self.written[part] > now).any():
            raise RaceError(f"rank {rank} reads what another rank may still be writing")
        self.read[part, rank] = now[rank]
        return self.data[part].copy()

    def store(self, part: slice, rank: int, now: Clock, values: Any) -> None:
        if (self.written[part] > now).any() or (self.read[part] > now).any():
            raise RaceError(f"rank {rank} overwrites what another rank may still be using")
        self.written[part, rank] = now[rank]
        self.data[part] = values


@dataclass
class Buffer:
    """A buffer of a rank: part of a memory, from element `base` on."""

    memory: Memory
    base: int = 0


@dataclass
class Machine:
    """All ranks' memory, counters and clocks, over successive launches of one plan."""

    plan: Plan
    layout: Layout
    inputs: list[Buffer]
    outputs: list[Buffer]
    seed: int
    clocks: list[Clock] = field(init=False)

    def __post_init__(self) -> None:
        size = self.plan.size
        self.clocks = [np.zeros(size, np.int64) for _ in range(size)]
        # packets take twice the room at twice the offset
        room = 2 * max(r.scratch_chunks for r in self.plan.ranks) * self.layout.scratch_chunk // ITEM
        self.scratch = [[Memory(room, size) for _ in range(size)] for _ in range(2)]
        self.packets: dict[tuple[int, int, int], tuple[Floats, Clock]] = {}
        self.signals: dict[tuple[int, int, int, int], list[Clock]] = {}
        self.completed: list[list[Clock]] = [[] for _ in range(size)]
        self.pieces = _pieces(self.plan, self.layout)

    def run(self, fills: Sequence[Sequence[Floats]]) -> list[list[Floats]]:
        """Launch once for each of `fills`, the inputs of all ranks; the outputs of all ranks after each launch."""
        results: list[list[Any]] = [[None] * self.plan.size for _ in fills]
        chance = random.Random(self.seed)
        running = {rank: self._rank(rank, fills, results) for rank in range(self.plan.size)}
        waiting: set[int] = set()
        while running:
            ready = [rank for rank in running if rank not in waiting]
            if not ready:
                raise DeadlockError(f"ranks {sorted(running)} wait for each other")
            rank = chance.choice(ready)
            # some ranks run far ahead, others lag: bursts of very different lengths
            for _ in range(chance.choice((1, 3, 30))):
                progress = next(running[rank], None)
                if progress:
                    waiting.clear()
                elif progress is None:
                    del running[rank]
                    break
                else:
                    waiting.add(rank)
                    break
        return results

    def _rank(self, rank: int, fills: Sequence[Sequence[Floats]], results: list[list[Any]]) -> Iterator[bool]:
        """The steps of a rank: True when it did something, False when it waits."""
        now = self.clocks[rank]
        (block,) = self.plan.ranks[rank].blocks
        for launch, fill in enumerate(fills):
            if launch >= 2:
                while any(len(c) < launch - 1 for c in self.completed):
                    yield False
                for done in self.completed:
                    np.maximum(now, done[launch - 2], out=now)
            now[rank] += 1
            given = fill[rank]
            mine = self.inputs[rank]
            mine.memory.store(slice(mine.base, mine.base + len(given)), rank, now, given)
            taken: dict[tuple[int, int], int] = {}
            for instruction, piece, loop in self._unrolled(block):
                now[rank] += 1
                match instruction:
                    case Move():
                        while not self._move(rank, instruction, launch, piece, loop):
                            yield False
                    case Signal(channels=channels):
                        for channel in channels:
                            self.signals.setdefault(self._counter(rank, channel, launch, True), []).append(now.copy())
                    case Wait(channels=channels):
                        for channel in channels:
                            key = self._counter(rank, channel, launch, False)
                            nth = taken[channel, 0] = taken.get((channel, 0), 0) + 1
                            while len(self.signals.get(key, [])) < nth:
                                yield False
                            np.maximum(now, self.signals[key][nth - 1], out=now)
                    case Sync():
                        pass  # each instruction is one step, after which all threads of the block agree
                    case _:
                        raise AssertionError(f"no built-in algorithm uses {type(instruction).__name__}")
                yield True
            for channel in range(len(self.plan.ranks[rank].channels)):
                sent = self.signals.get(self._counter(rank, channel, launch, False), [])
                assert len(sent) <= taken.get((channel, 0), 0), "a signal that nobody waits for"
            now[rank] += 1
            mine = self.outputs[rank]
            length = sum(n for _, n in self.layout.outputs[rank]) // ITEM
            results[launch][rank] = mine.memory.load(slice(mine.base, mine.base + length), rank, now)
            self.completed[rank].append(now.copy())
            yield True

    def _unrolled(self, block: Sequence[Instruction]) -> Iterator[tuple[Instruction, int, Loop | None]]:
        for instruction in block:
            if not isinstance(instruction, Loop):
                yield instruction, 0, None
                continue
            for piece in range(self.pieces[instruction.unit]):
                for inner in instruction.body:
                    yield inner, piece, instruction

    def _counter(self, rank: int, channel: int, launch: int, sending: bool) -> tuple[int, int, int, int]:
        channels = self.plan.ranks[rank].channels
        peer = channels[channel].peer
        ordinal = sum(c.peer == peer for c in channels[:channel])
        return (rank, peer, ordinal, launch) if sending else (peer, rank, ordinal, launch)

    def _move(self, rank: int, move: Move, launch: int, piece: int, loop: Loop | None) -> bool:
        """Whether all packets were there, and so the move was done."""
        now = self.clocks[rank]
        data = [s for s in (*move.src, *move.dst) if s.buffer is not BufferKind.SCRATCH]
        lengths = {self._extent(rank, s)[1] for s in data}
        assert len(lengths) == 1, f"operands of {lengths} bytes in one move"
        (length,) = lengths
        first = piece * loop.unit if loop else 0
        part = max(0, min(length - first, loop.unit) if loop else length)
        if part == 0:
            return True
        keys = [self._place(rank, s, launch, piece, loop, part)[2] for s in move.src if s.packet]
        if any((launch, *key) not in self.packets for key in keys):
            return False
        total: Floats | None = None
        for span in move.src:
            if span.packet:
                key = self._place(rank, span, launch, piece, loop, part)[2]
                values, clock = self.packets[launch, *key]
                np.maximum(now, clock, out=now)
            else:
                memory, region, _ = self._place(rank, span, launch, piece, loop, part)
                values = memory.load(region, rank, now)
            assert len(values) == part // ITEM
            assert not np.isnan(values).any(), f"rank {rank} reads memory that was not written"
            total = values if total is None else total + values
        for span in move.dst:
            memory, region, key = self._place(rank, span, launch, piece, loop, part)
            memory.store(region, rank, now, total)
            if span.packet:
                assert total is not None
                self.packets[launch, *key] = total, now.copy()
        return True

    def _extent(self, rank: int, span: Span) -> tuple[int, int]:
        return self.layout.extent(rank if span.peer is None else span.peer, span)

    def _place(
        self, rank: int, span: Span, launch: int, piece: int, loop: Loop | None, part: int
    ) -> tuple[Memory, slice, tuple[int, int]]:
        owner = rank if span.peer is None else span.peer
        if span.buffer is BufferKind.SCRATCH:
            slot = (piece % loop.slots if loop.slots else piece) * loop.unit if loop else 0
            assert slot + part <= span.size * self.layout.scratch_chunk, "beyond the scratch chunk"
            start = (span.index * self.layout.scratch_chunk * (2 if span.packet else 1) + slot) // ITEM
            memory = self.scratch[launch % 2][owner]
        else:
            buffer = (self.inputs if span.buffer is BufferKind.INPUT else self.outputs)[owner]
            start = buffer.base + (self._extent(rank, span)[0] + (piece * loop.unit if loop else 0)) // ITEM
            memory = buffer.memory
        return memory, slice(start, start + part // ITEM), (owner, start)


def _pieces(plan: Plan, layout: Layout) -> dict[int, int]:
    longest: dict[int, int] = {}
    for rank, part in enumerate(plan.ranks):
        for block in part.blocks:
            for loop in (i for i in block if isinstance(i, Loop)):
                for move in (i for i in loop.body if isinstance(i, Move)):
                    for span in (*move.src, *move.dst):
                        if span.buffer is not BufferKind.SCRATCH:
                            owner = rank if span.peer is None else span.peer
                            length = layout.extent(owner, span)[1]
                            longest[loop.unit] = max(longest.get(loop.unit, 0), length)
    return {unit: -(-length // unit) for unit, length in longest.items()}
