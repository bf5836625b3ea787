"""Algorithms that look the same from every rank: one rank's blocks are written, those of the others follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hal.interface.errors import PlanError
from hal.plan.builder import PlanBuilder
from hal.plan.model import BufferKind, Instruction, Loop, Move, Post, Span


def rotate(p: PlanBuilder) -> None:
    """Let every rank do what rank 0 does, counted from itself.

    What is rank i for rank 0 is rank (i + r) mod n for rank r of n ranks. So is chunk i of an input or output that has
    one chunk for each rank, in anybody's memory; chunks of scratch, and of other buffers, are the same for all ranks.
    To be called once rank 0 has all its blocks and no other rank has any: `PlanError` where one has, where inputs or
    outputs are not equally long on all ranks, or where an operand is of several chunks that would have to be rotated.
    For large plans it is faster than writing the blocks of all ranks.
    """
    first, *others = p.ranks
    if any(rank.blocks for rank in others):
        raise PlanError(f"plan {p.name!r}: ranks other than 0 have blocks of their own, and cannot do as rank 0 does")
    if any((len(r.input), len(r.output)) != (len(first.input), len(first.output)) for r in others):
        raise PlanError(f"plan {p.name!r}: inputs or outputs of its ranks differ in length, and cannot be rotated")
    # everybody uses of some other rank's scratch what rank 0 uses of one
    scratch = max(len(rank.scratch) for rank in p.ranks)
    first.scratch.used = scratch
    for rank in others:
        rank.scratch.used = scratch
        rank.semaphores = list(first.semaphores)
        rank.channels = {
            (kind, (peer + rank.id) % len(p.ranks), tag): n for (kind, peer, tag), n in first.channels.items()
        }
        turn = _Turn(p, rank.id)
        for block in first.blocks:
            rank.block().body = turn.instructions(block.body)


class _Turn:
    """By so many ranks."""

    def __init__(self, p: PlanBuilder, distance: int) -> None:
        self.shared = p.shared
        self.rank = p.ranks[distance]
        self.size = len(p.ranks)
        self.rotated = [
            kind
            for kind, buffer in ((BufferKind.INPUT, self.rank.input), (BufferKind.OUTPUT, self.rank.output))
            if len(buffer) == self.size
        ]

    def instructions(self, body: Sequence[Instruction]) -> list[Instruction]:
        found: list[Instruction] = []
        for each in body:
            match each:
                case Move():
                    dst, src = self.spans(each.dst), self.spans(each.src)
                    found.append(Move(dst, src, each.op, each.final, each.part, each.parts, source=each.source))
                case Post():
                    found.append(replace(each, dst=self.span(each.dst), src=self.span(each.src)))
                case Loop(body=inner):
                    found.append(replace(each, body=tuple(self.instructions(inner))))
                case _:
                    found.append(each)  # it names what is the rank's own: channels, barriers, semaphores
        return found

    def spans(self, spans: tuple[Span, ...]) -> tuple[Span, ...]:
        return tuple([self.span(span) for span in spans])

    def span(self, span: Span) -> Span:
        index, peer = span.index, span.peer
        if span.buffer in self.rotated:
            if span.size > 1:
                raise PlanError(
                    f"chunks {index} to {index + span.size - 1} of a rotated {span.buffer.value} are no range"
                )
            index = (index + self.rank.id) % self.size
        elif peer is None:
            return span
        if peer is None:
            return self.shared.span(span.buffer, index, span.size, span.packet)
        return Span(span.buffer, index, span.size, (peer + self.rank.id) % self.size, span.packet)
