"""Two moves as one: when that is the same, and what it looks like."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

from hal.plan.collective import Collective
from hal.plan.lower import walk
from hal.plan.model import BufferKind, Move, Plan, Post, Span
from hal.plan.passes.footprint import Access, Memory, footprint, owned_spans
from hal.plan.validate import MOST_OPERANDS

Use = tuple[tuple[int, int], int, int, bool]
"""Accesses of one kind: the rank and block that make them, the first chunk and the one after the last, whether they
write."""


class Merger:
    """Merges moves of one rank of `plan`, by what the whole plan does with the memory concerned.

    A result is right in the place of both. The two are of one block, with nothing between them that orders its threads.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rank = self._block = 0
        self._uses: defaultdict[Memory, Counter[Use]] = defaultdict(Counter)
        for number, rank in enumerate(plan.ranks):
            for block_number, block in enumerate(rank.blocks):
                self.enter(number, block_number)
                for operation in (i for i in walk(block) if isinstance(i, Move | Post)):
                    self._count(operation, 1)

    def enter(self, rank: int, block: int) -> None:
        """Go on with the moves of this block."""
        self.rank, self._block = rank, block

    def replace(self, first: Move, second: Move, made: Move) -> None:
        """Take note that `made` has come in place of both."""
        self._count(first, -1)
        self._count(second, -1)
        self._count(made, 1)

    def earlier(self, first: Move, second: Move) -> Move | None:
        """Both in the place of the first, where the second moves what the first did or stored; else None."""
        if (first.part, first.parts) != (second.part, second.parts):
            return None
        if _what(first) == _what(second):
            if self._changes_its_sources(first):
                return None
            made = replace(first, dst=(*first.dst, *second.dst))
            return made if self._right(made, first, second) else None
        copied = second.src[0]
        if not _copies(second) or copied not in first.dst:
            return None
        kept = tuple(d for d in first.dst if d != copied or not self._dead_after(copied, second))
        made = replace(first, dst=(*kept, *second.dst))
        return made if self._right(made, first, second) else None

    def later(self, first: Move, second: Move) -> Move | None:
        """Both in the place of the second, where the first is a copy to scratch that it alone reads; else None."""
        if (first.part, first.parts) != (second.part, second.parts) or len(first.dst) != 1 or not _copies(first):
            return None
        (target,), (source,) = first.dst, first.src
        if target not in second.src or target in second.dst:
            return None
        if not self._dead_after(target, second):
            return None
        made = replace(second, src=tuple(source if s == target else s for s in second.src))
        return made if self._right(made, first, second) else None

    def _count(self, operation: Move | Post, number: int) -> None:
        for access in footprint(self.rank, self.plan.ranks[self.rank].channels, operation, self.plan):
            use = (self.rank, self._block), access.first, access.end, access.writes
            self._uses[access.memory][use] += number

    def _right(self, made: Move, first: Move, second: Move) -> bool:
        """Whether a merged move is one that is allowed, of one length, and stores nothing too early."""
        if len(made.dst) + len(made.src) > MOST_OPERANDS or not self._same_length(first, second):
            return False
        if len(made.dst) != len(set(made.dst)) or self._clash(made):
            return False
        # the elements of a packet move go ahead one by one: those that wait hold up no others
        return not any(s.packet for s in first.src) or all(self._free(d) for d in second.dst)

    def _clash(self, move: Move) -> bool:
        """Whether a destination overlaps another operand without being a source exactly."""
        accesses = self._accesses(move)
        written = [a for a in accesses if a.writes]
        return any(
            one is not other and one.hinders(other) and (other.writes or not one.same_place(other))
            for one in written
            for other in accesses
        )

    def _same_length(self, first: Move, second: Move) -> bool:
        """Whether the operands of both have one length in every call."""
        if self.plan.even:
            return first.dst[0].size == second.dst[0].size
        return bool(self._lengths(first) & self._lengths(second))

    def _lengths(self, move: Move) -> set[tuple[object, ...]]:
        """What says how long the operands are. Where counts may be variable every range has a length of its own; else
        the piece of the count that a range begins with tells, for all ranks and buffers."""
        collective = Collective.of(self.plan.collective)
        variable = collective is Collective.CUSTOM or f"{collective.name}_V" in Collective.__members__
        channels = self.plan.ranks[self.rank].channels
        return {
            (owner, s.buffer, s.index, s.size) if variable else (s.index % self.plan.split, s.size)
            for _, owner, s in owned_spans(self.rank, channels, move)
            if s.buffer is not BufferKind.SCRATCH
        }

    def _dead_after(self, span: Span, reader: Move) -> bool:
        """Whether `span` is scratch that no instruction of the plan but `reader` reads."""
        if span.buffer is not BufferKind.SCRATCH:
            return False
        for access in self._accesses(Move((), (span,), part=reader.part, parts=reader.parts)):
            own = sum(1 for a in self._accesses(reader) if not a.writes and a == access)
            found = sum(n for (_, _, _, writes), n in self._overlapping(access) if not writes)
            if found != own:
                return False
        return True

    def _free(self, span: Span) -> bool:
        """Whether `span` may be written early: as scratch that is written once, or as memory of this block alone."""
        for access in self._accesses(Move((span,), ())):
            users = self._overlapping(access)
            once = access.in_scratch and sum(n for (_, _, _, writes), n in users if writes) == 1
            alone = all(user == (self.rank, self._block) for (user, _, _, _), _ in users)
            alone &= access.memory[0] == self.rank
            if not once and not alone:
                return False
        return True

    def _overlapping(self, access: Access) -> list[tuple[Use, int]]:
        uses = self._uses[access.memory].items()
        return [(use, n) for use, n in uses if use[1] < access.end and access.first < use[2]]

    def _changes_its_sources(self, move: Move) -> bool:
        """Whether its sources are not what they were when it is done. What is copied onto itself stays."""
        copies = _copies(move)
        accesses = self._accesses(move)
        return any(
            one.hinders(other) and not (copies and one.same_place(other))
            for one in accesses
            for other in accesses
            if one.writes and not other.writes
        )

    def _accesses(self, move: Move) -> list[Access]:
        return list(footprint(self.rank, self.plan.ranks[self.rank].channels, move, self.plan))


def _what(move: Move) -> tuple[object, ...]:
    """What is stored: equal where two moves of one moment store the same."""
    return move.src, None if _copies(move) else move.op, move.final


def _copies(move: Move) -> bool:
    """Whether it stores what it reads, bit for bit."""
    return len(move.src) == 1 and not move.final and move.src[0].switch is None
