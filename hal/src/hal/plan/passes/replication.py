"""`instances`: several copies of a plan side by side, each for a slice of the data."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from hal.interface.errors import PlanError
from hal.plan.collective import Collective
from hal.plan.lower import spans, walk
from hal.plan.model import (
    Acquire,
    Barrier,
    BufferKind,
    Flush,
    Instruction,
    Loop,
    Move,
    Plan,
    Post,
    RankPlan,
    Release,
    Signal,
    Span,
    Sync,
    Wait,
)
from hal.plan.passes.footprint import owned_spans
from hal.plan.text import numbered, path_text
from hal.plan.validate import MOST_BLOCKS, MOST_CHUNKS, validate

Operation = TypeVar("Operation", Move, Post)


def instances(plan: Plan, n: int) -> Plan:
    """`n` copies of a valid plan that run side by side, each for an n-th of every block of data.

    More blocks share the work, and more channels. Copy k has blocks, channels, semaphores, barriers and scratch of its
    own, and does with the k-th slice what the plan does with the whole; name, loop units and all properties stay. The
    count of a call is cut into n times as many pieces: those of the k-th slice are pieces `k*split` up to
    `(k+1)*split`, so that a span within one block of data remains one span. In a `custom` plan, where it may matter
    which piece is which, every chunk is cut in n slices that take its place. A move of a span over several blocks
    (there: chunks) becomes one move for each of them. An `even` plan then serves multiples of `n*split*align` bytes; a
    plan for variable counts no longer does so. Scratch holds as much data as before, but n rings where the plan has
    loops.

    `PlanError` where the plan is not valid, `n` is below 1, or a span that would become several is in a loop, is moved
    in parts, or meets others in scratch that are cut elsewhere; and where the result has more of something than a plan
    may have.
    """
    if n < 1:
        raise PlanError(f"the number of instances is 1 or more, not {n}")
    validate(plan)
    if n == 1:
        return plan
    # before anything is built as often
    most = min(MOST_CHUNKS // plan.split, MOST_BLOCKS // max(1, *(len(rank.blocks) for rank in plan.ranks)))
    if n > most:
        raise PlanError(f"plan {plan.name!r} cannot be cut in {n} slices: a plan has room for {most} instances of it")
    _check_cuts_in_scratch(plan)
    room = _Room.of(plan, n)
    ranks = tuple(_replicated(plan, number, n, room) for number in range(plan.size))
    made = replace(plan, ranks=ranks, split=plan.split * n)
    validate(made)
    return made


@dataclass(frozen=True)
class _Room:
    """Where the scratch of each copy lies, the same on all ranks, since a switch operand is at one place on several.

    Packets come first: a chunk in packet form lies at twice its place, so that plain chunks begin at twice theirs.
    """

    copies: int
    packets: int
    """Chunks in packet form of one copy."""
    plain: int
    """Other chunks of one copy."""

    @classmethod
    def of(cls, plan: Plan, copies: int) -> _Room:
        scratch = [span for span in spans(plan) if span.buffer is BufferKind.SCRATCH]
        packets = max((s.index + s.size for s in scratch if s.packet), default=0)
        plain = max((s.index + s.size for s in scratch if not s.packet), default=0)
        return cls(copies, packets, plain)

    @property
    def total(self) -> int:
        return self.copies * self.packets * (2 if self.plain else 1) + self.copies * self.plain

    def place(self, span: Span, copy: int) -> int:
        if span.packet:
            return span.index + copy * self.packets
        return 2 * self.copies * self.packets + span.index + copy * self.plain


def _replicated(plan: Plan, number: int, n: int, room: _Room) -> RankPlan:
    rank = plan.ranks[number]
    barriers = sorted({i.id for block in rank.blocks for i in walk(block) if isinstance(i, Barrier)})
    copies = [
        _Copy(plan, number, k, n, room, {b: k * len(barriers) + j for j, b in enumerate(barriers)}) for k in range(n)
    ]
    return RankPlan(
        rank.input_chunks * n,
        rank.output_chunks * n,
        room.total if rank.scratch_chunks else 0,
        tuple(tuple(copy.all(block)) for copy in copies for block in rank.blocks),
        # both ends list the channels of one copy after the other, so that they pair as they did
        rank.channels * n,
        rank.semaphores * n,
    )


@dataclass(frozen=True)
class _Copy:
    plan: Plan
    rank: int
    number: int
    copies: int
    room: _Room
    barriers: dict[int, int]

    def all(self, instructions: Sequence[Instruction]) -> Iterator[Instruction]:
        for instruction in instructions:
            yield from self.each(instruction)

    def each(self, instruction: Instruction) -> Iterator[Instruction]:
        rank = self.plan.ranks[self.rank]
        channel_shift = self.number * len(rank.channels)
        semaphore_shift = self.number * len(rank.semaphores)
        match instruction:
            case Move():
                for move in cut_at_blocks(block_length(self.plan), instruction):
                    yield replace(
                        move,
                        dst=tuple(self.span(span, channel_shift) for span in move.dst),
                        src=tuple(self.span(span, channel_shift) for span in move.src),
                    )
            case Post(channel=channel):
                for post in cut_at_blocks(block_length(self.plan), instruction):
                    dst, src = self.span(post.dst, 0), self.span(post.src, 0)
                    yield replace(post, dst=dst, src=src, channel=channel + channel_shift)
            case Signal(channels=channels) | Wait(channels=channels):
                yield replace(instruction, channels=tuple(c + channel_shift for c in channels))
            case Flush(channel=channel):
                yield replace(instruction, channel=channel + channel_shift)
            case Barrier(id=number):
                yield replace(instruction, id=self.barriers[number])
            case Acquire(semaphore=semaphore) | Release(semaphore=semaphore):
                yield replace(instruction, semaphore=semaphore + semaphore_shift)
            case Loop(body=body):
                yield replace(instruction, body=tuple(self.all(body)))
            case Sync():
                yield instruction

    def span(self, span: Span, channel_shift: int) -> Span:
        if span.buffer is BufferKind.SCRATCH:
            index = self.room.place(span, self.number)
        else:
            length = block_length(self.plan)
            block, piece = divmod(span.index, length)
            index = (block * self.copies + self.number) * length + piece
        return replace(span, index=index, switch=None if span.switch is None else span.switch + channel_shift)


def block_length(plan: Plan) -> int:
    """How many chunks of data are cut in slices together."""
    return 1 if plan.collective == Collective.CUSTOM.label else plan.split


def block_bounds(length: int, operation: Move | Post) -> list[int]:
    """Where the ranges of an operation go on to another block of data, in chunks from their begin: 0, …, size."""
    operands = _operands(operation)
    data = [span for span in operands if span.buffer is not BufferKind.SCRATCH]
    size = (data or operands)[0].size
    inner = {bound for span in data for bound in range(length - span.index % length, size, length)}
    return [0, *sorted(inner), size]


def cut_at_blocks(length: int, operation: Operation) -> Iterator[Operation]:
    """The operation as operations on single blocks of data, in order; itself where there is but one."""
    bounds = block_bounds(length, operation)
    if len(bounds) == 2:
        yield operation
        return

    def within(span: Span, first: int, end: int) -> Span:
        return replace(span, index=span.index + first, size=end - first)

    for first, end in itertools.pairwise(bounds):
        if isinstance(operation, Move):
            dst, src = (tuple(within(s, first, end) for s in many) for many in (operation.dst, operation.src))
            yield replace(operation, dst=dst, src=src)
        else:
            # posts of one channel are delivered in order: the last one's signal and flush are those of all
            last = end == bounds[-1]
            yield replace(
                operation,
                dst=within(operation.dst, first, end),
                src=within(operation.src, first, end),
                signal=operation.signal and last,
                flush=operation.flush and last,
            )


def _operands(operation: Move | Post) -> tuple[Span, ...]:
    return (*operation.dst, *operation.src) if isinstance(operation, Move) else (operation.dst, operation.src)


def _check_cuts_in_scratch(plan: Plan) -> None:
    """Refuse what `cut_at_blocks` would not keep as it was.

    A range of scratch is filled from its start without gaps, and so are its parts, each in its own chunks: what was
    stored to a range is found again only by an operation that is cut at the same bounds. Where scratch has the chunks
    of the data (`even`) everything lies where it did.
    """
    found: defaultdict[tuple[int, bool], set[tuple[int, int, tuple[int, ...]]]] = defaultdict(set)
    for number, rank in enumerate(plan.ranks):
        for block_number, block in enumerate(rank.blocks):
            for path, operation in numbered(block):
                if not isinstance(operation, Move | Post):
                    continue
                bounds = tuple(block_bounds(block_length(plan), operation))
                if len(bounds) > 2 and (len(path) > 1 or operation.parts > 1):
                    where = "in a loop" if len(path) > 1 else "in parts"
                    raise PlanError(
                        f"plan {plan.name!r} cannot be cut in slices: rank {number}, block {block_number}, instruction "
                        f"{path_text(path)} moves a span over several blocks of data {where}"
                    )
                for _, owner, span in owned_spans(number, rank.channels, operation):
                    if span.buffer is BufferKind.SCRATCH:
                        found[owner, span.packet].add((span.index, span.index + span.size, bounds))
    if plan.even and plan.scratch_chunk_bytes is None:
        return
    for (owner, _), ranges in found.items():
        widest: tuple[int, int, tuple[int, ...]] = (0, 0, ())
        for one in sorted(ranges):
            if one[0] < widest[1] and (len(one[2]) > 2 or len(widest[2]) > 2):
                raise PlanError(
                    f"plan {plan.name!r} cannot be cut in slices: scratch[{one[0]}:{one[1]}] and "
                    f"scratch[{widest[0]}:{widest[1]}] of rank {owner} overlap, and hold spans over several blocks "
                    "of data that begin at different places"
                )
            widest = max(widest, one, key=lambda range_: range_[1])
