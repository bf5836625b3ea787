"""Why a mutant that the verifier passes is right: a reason that is derived from the two plans and checked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal.interface.errors import PlanError
from hal.plan.collective import Collective
from hal.plan.model import Instruction, Loop, Move, Plan
from hal.reference import run

from .mutators import Mutant
from .oracle import counts, data
from .order import Order

UNUSED_OP = "a move of one source does not use its operation"
SAME_BYTES = "every instruction touches the same bytes, in the same order"
SAME_READS = "conflicting accesses stay ordered, and every read sees the write that it saw"
PACKETS_KNOW = "the same, but that what a move read may be overwritten is known by packets made of it"
SAME_CONTENTS = "the changed operand has the same contents: all memory ends the same"
NEVER_READ = "what is changed is never read: all inputs and outputs end the same"
NAMED_OP = "the plan is right for the one operation that it now names"
REASONS = (UNUSED_OP, SAME_BYTES, SAME_READS, PACKETS_KNOW, SAME_CONTENTS, NEVER_READ, NAMED_OP)


def reason(original: Plan, mutant: Mutant, plan: Plan) -> str | None:
    """The first of `REASONS` that holds; None where none does."""
    pairs = list(_changed(original, plan)) if mutant.kind == "change op" else []
    if pairs and all(_unused(before, after) for before, after in pairs):
        return UNUSED_OP
    if pairs:
        return NAMED_OP if len(_reductions(plan)) == 1 else None
    names = _names(original, plan)
    verdicts = [_compare(original, plan, names, *case) for case in _cases(plan)]
    if None in verdicts:
        return None
    found = max(REASONS.index(verdict) for verdict in verdicts if verdict is not None)
    return REASONS[found]


def order_is_kept(original: Plan, plan: Plan) -> bool:
    """Whether a plan is right because all its reads see the writes that they saw in a right one, and in order."""
    names = _names(original, plan)
    try:
        return all(
            _compare(original, plan, names, *case) in (SAME_BYTES, SAME_READS, PACKETS_KNOW) for case in _cases(plan)
        )
    except PlanError:
        return False


def _compare(original: Plan, plan: Plan, names: dict[int, int], count: int, in_place: bool) -> str | None:
    """What holds for one count and sharing."""
    before, after = (Order(p, count, in_place, names) for p in (original, plan))
    assert before.ordered(), "a second opinion holds the original for wrong"
    if after.stuck or not after.ordered():
        return None
    if Collective.of(plan.collective) is Collective.BARRIER and not after.meeting():
        return None
    if _facts(before) == _facts(after):
        return SAME_BYTES
    if before.sources == after.sources and before.outputs() == after.outputs():
        return SAME_READS if after.ordered(packets=False) else PACKETS_KNOW
    return _contents(original, plan, count, in_place)


def _facts(order: Order) -> set[object]:
    """For each event what it touches, what it reads there, and what lies before it."""
    return {
        (
            event.label,
            (*event.reads, None, *event.writes, None, *event.packets),
            order.sources.get(event.label, ()),
            _labels(order, event.seen),
            _labels(order, event.passed),
        )
        for event in order.events
    }


def _labels(order: Order, events: int) -> frozenset[object]:
    return frozenset(e.label for e in order.events if events >> e.number & 1)


def _contents(original: Plan, plan: Plan, count: int, in_place: bool) -> str | None:
    inputs = data(plan, Collective.of(plan.collective), count)
    one, two = (run(p, inputs, count=count, in_place=in_place) for p in (original, plan))

    def same(field: str) -> bool:
        return all(map(np.array_equal, getattr(one, field), getattr(two, field)))

    if not (same("outputs") and same("inputs")):
        return None
    return SAME_CONTENTS if same("scratch") else NEVER_READ


def _cases(plan: Plan) -> Iterator[tuple[int, bool]]:
    for count in counts(plan)[:3]:
        for in_place in [True] if plan.aliased else [False, True] if plan.in_place else [False]:
            yield count, in_place


def _instructions(plan: Plan) -> Iterator[tuple[tuple[int, ...], Instruction]]:
    for rank, part in enumerate(plan.ranks):
        for number, block in enumerate(part.blocks):
            for index, each in enumerate(block):
                yield (rank, number, index), each
                if isinstance(each, Loop):
                    for inner, instruction in enumerate(each.body):
                        yield (rank, number, index, inner), instruction


def _changed(original: Plan, plan: Plan) -> Iterator[tuple[Instruction, Instruction]]:
    for (_, before), (_, after) in zip(_instructions(original), _instructions(plan), strict=True):
        if before is not after and not isinstance(before, Loop):
            yield before, after


def _unused(before: Instruction, after: Instruction) -> bool:
    return (
        isinstance(before, Move)
        and isinstance(after, Move)
        and before.final == after.final
        and len(after.src) == 1
        and after.src[0].switch is None
    )


def _reductions(plan: Plan) -> set[object]:
    """The operations of all moves that reduce."""
    moves = [each for _, each in _instructions(plan) if isinstance(each, Move)]
    return {m.op for m in moves if len(m.src) > 1 or m.src[0].switch is not None}


def _names(original: Plan, plan: Plan) -> dict[int, int]:
    """For the identity of an instruction that was changed where it stands, that of the original."""
    known = {id(each) for _, each in _instructions(original)}
    places = dict(_instructions(original))
    return {
        id(each): id(places[site]) for site, each in _instructions(plan) if id(each) not in known and site in places
    }
