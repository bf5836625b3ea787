"""What memory a move reads and writes, as ranges of chunks; and whether two moves get in each other's way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hal.plan.model import BufferKind, Channel, Move, Plan, Post, Span

Memory = tuple[int, BufferKind]
"""A buffer of a rank."""


@dataclass(frozen=True, slots=True)
class Access:
    """Chunks `first` up to `end` of a buffer, read or written; a chunk in packet form is twice as long, at twice the
    place."""

    memory: Memory
    first: int
    end: int
    writes: bool
    part: tuple[int, int]
    """Which of how many parts of the range."""

    def hinders(self, other: Access) -> bool:
        """Whether one writes what the other reads or writes; false where that is impossible at every size."""
        if not (self.writes or other.writes) or self.memory != other.memory:
            return False
        if self.end <= other.first or other.end <= self.first:
            return False
        return not self._other_part(other)

    @property
    def in_scratch(self) -> bool:
        """Whether it is of scratch."""
        return self.memory[1] is BufferKind.SCRATCH

    def same_place(self, other: Access) -> bool:
        """Whether both are the same part of the same range."""
        return (self.memory, self.first, self.end, self.part) == (other.memory, other.first, other.end, other.part)

    def _other_part(self, other: Access) -> bool:
        # Parts are cut of an operand's length. Equal ranges of data have equal lengths, and their parts are disjoint.
        # Scratch follows the length of the data that it is moved with, so that its parts may be cut elsewhere.
        same_range = (self.first, self.end) == (other.first, other.end)
        cut_alike = self.part[1] == other.part[1] and self.part[0] != other.part[0]
        return same_range and cut_alike and not self.in_scratch


def owned_spans(rank: int, channels: Sequence[Channel], operation: Move | Post) -> Iterator[tuple[bool, int, Span]]:
    """The operands of an operation of `rank`: whether it is written, and the rank in whose memory it lies.

    A switch operand comes once for every member. Sources come first.
    """
    if isinstance(operation, Post):
        yield False, rank, operation.src
        yield True, channels[operation.channel].peer, operation.dst
        return
    for writes, spans in ((False, operation.src), (True, operation.dst)):
        for span in spans:
            for owner in _owners(rank, channels, span):
                yield writes, owner, span


def footprint(
    rank: int, channels: Sequence[Channel], operation: Move | Post, plan: Plan | None = None
) -> Iterator[Access]:
    """All accesses of an operation of `rank`, whose channels are `channels`; a switch operand is one of every member.

    With `plan`, input and output that may share memory in its calls (`in_place`) are one memory where they do.
    """
    for writes, owner, span in owned_spans(rank, channels, operation):
        scale = 2 if span.packet else 1
        memory, shift = (owner, span.buffer), 0
        if plan is not None and plan.in_place:
            memory, shift = _shared(plan, owner, span.buffer)
        first = scale * span.index + shift
        yield Access(memory, first, first + scale * span.size, writes, (operation.part, operation.parts))


def conflicts(
    rank: int, channels: Sequence[Channel], a: Move, b: Move, *, plan: Plan | None = None, later_piece: bool = False
) -> bool:
    """Whether two moves of one block of `rank` must be ordered: one writes what the other reads or writes.

    `channels` are the rank's. The answer follows from chunk numbers alone and errs towards True: ranges that overlap
    conflict, whatever their lengths in a call, remote ones and all members of a switch group included. Different
    parts of equally many of one range of data do not.

    With `plan`, input and output count as one memory where calls in place let them share it (`Plan.in_place`).
    `later_piece` says that the two belong to different pieces of one loop, and that these never share a slot of its
    scratch: equal ranges then do not overlap.
    """
    theirs = list(footprint(rank, channels, b, plan))
    return any(
        one.hinders(other) and not (later_piece and one.same_place(other))
        for one in footprint(rank, channels, a, plan)
        for other in theirs
    )


def _owners(rank: int, channels: Sequence[Channel], span: Span) -> Iterable[int]:
    if span.switch is not None:
        return channels[span.switch].peers
    return (rank if span.peer is None else span.peer,)


def _shared(plan: Plan, owner: int, buffer: BufferKind) -> tuple[Memory, int]:
    """The memory that stands for a buffer in place, and how far into it the buffer begins."""
    own = plan.ranks[owner]
    few, many = sorted((own.input_chunks, own.output_chunks))
    if buffer is BufferKind.SCRATCH or few == 0:
        return (owner, buffer), 0
    longer = BufferKind.OUTPUT if own.output_chunks == many else BufferKind.INPUT
    # the shorter one is the rank's block of the longer
    shift = 0 if buffer is longer or few == many else owner * plan.split
    return (owner, longer), shift
