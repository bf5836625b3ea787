"""`synchronise`: a `Sync` wherever the threads of a block would get in each other's way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hal.plan.model import Instruction, Loop, Move, Plan, RankPlan, Sync
from hal.plan.passes.footprint import Access, Memory, conflicts, footprint

__all__ = ["conflicts", "synchronise"]


def synchronise(plan: Plan) -> Plan:
    """The plan with a `Sync` between any two moves of a block that nothing else orders and that must be ordered.

    Two moves must be ordered where one writes what the other reads or writes (`conflicts`), in place too if the plan
    allows that. Any instruction between them other than a move orders them; a loop by itself does not, for it may run
    no piece, and the last moves of a piece come right before the first of the next. As few are inserted as possible in
    straight-line code. A plan that needs none is returned as it is.
    """
    ranks = tuple(
        replace(rank, blocks=tuple(_Block(plan, number, rank).run(block) for block in rank.blocks))
        for number, rank in enumerate(plan.ranks)
    )
    return plan if ranks == plan.ranks else replace(plan, ranks=ranks)


class _Block:
    """Goes through a block with `pending`: what its moves have accessed since its threads were last ordered."""

    def __init__(self, plan: Plan, number: int, rank: RankPlan) -> None:
        self.plan = plan
        self.number = number
        self.rank = rank
        self.pending = _Pending()

    def run(self, instructions: Sequence[Instruction]) -> tuple[Instruction, ...]:
        made: list[Instruction] = []
        for instruction in instructions:
            if isinstance(instruction, Loop):
                made += self.loop(instruction)
            elif isinstance(instruction, Move):
                accesses = self.accesses(instruction)
                if self.pending.hinder(accesses):
                    made.append(Sync(source=instruction.source))
                    self.pending = _Pending()
                self.pending.add(accesses)
                made.append(instruction)
            else:
                self.pending = _Pending()
                made.append(instruction)
        return tuple(made)

    def loop(self, loop: Loop) -> list[Instruction]:
        before, self.pending = self.pending, _Pending()
        body = self.run(loop.body)
        tail, first = self.pending, self.first_of(body)
        straight = all(isinstance(each, Move) for each in body)
        # without anything to order them even distant pieces run at the same time, and these share slots
        apart = loop.slots == 0 or (loop.slots > 1 and not straight)
        if tail.hinder(first, later_piece=True, slots_apart=apart):
            body = (*body, Sync(source=loop.source))
            tail = _Pending()
        made: list[Instruction] = [loop if body == loop.body else replace(loop, body=body)]
        if before.hinder(first):
            made.insert(0, Sync(source=loop.source))
            before = _Pending()
        # the loop may run no piece at all
        self.pending = before.with_all_of(tail)
        return made

    def first_of(self, body: Iterable[Instruction]) -> list[Access]:
        """The accesses of a body's moves up to the first instruction that orders them."""
        found: list[Access] = []
        for instruction in body:
            if not isinstance(instruction, Move):
                break
            found += self.accesses(instruction)
        return found

    def accesses(self, move: Move) -> list[Access]:
        return list(footprint(self.number, self.rank.channels, move, self.plan))


class _Pending:
    """Accesses, found by their memory."""

    def __init__(self) -> None:
        self._by_memory: defaultdict[Memory, list[Access]] = defaultdict(list)

    def add(self, accesses: Iterable[Access]) -> None:
        for access in accesses:
            self._by_memory[access.memory].append(access)

    def with_all_of(self, other: _Pending) -> _Pending:
        for accesses in other._by_memory.values():
            self.add(accesses)
        return self

    def hinder(self, accesses: Iterable[Access], *, later_piece: bool = False, slots_apart: bool = True) -> bool:
        """Whether any of these gets in the way of one that is pending.

        `later_piece` says that these are of a later piece of the same loop, where equal ranges do not overlap;
        without `slots_apart` this does not hold for scratch.
        """

        def apart(one: Access, other: Access) -> bool:
            return later_piece and one.same_place(other) and (slots_apart or not one.in_scratch)

        return any(
            one.hinders(other) and not apart(one, other)
            for other in accesses
            for one in self._by_memory.get(other.memory, ())
        )
