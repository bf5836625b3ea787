"""Why a mutant that the verifier passes is right: a reason that is derived from the two plans and checked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hal.interface.errors import PlanError
from hal.plan.collective import Collective
from hal.plan.memo import once_per_plan
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
    found = 0
    for case in _cases(plan):
        verdict = _compare(original, plan, names, *case)
        if verdict is None:
            return None
        found = max(found, REASONS.index(verdict))
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
    before = _right_order(original, count, in_place)
    after = Order(plan, count, in_place, names)
    if after.stuck or not after.ordered():
        return None
    if Collective.of(plan.collective) is Collective.BARRIER and not after.meeting():
        return None
    if _same_facts(before, after):
        return SAME_BYTES
    if before.sources == after.sources and before.outputs() == after.outputs():
        return SAME_READS if after.ordered(packets=False) else PACKETS_KNOW
    return _contents(original, plan, count, in_place)


def _right_order(original: Plan, count: int, in_place: bool) -> Order:
    """That of the original, which all its mutants are compared with."""
    known = _orders(original)
    if (count, in_place) not in known:
        order = Order(original, count, in_place, {})
        assert order.ordered(), "a second opinion holds the original for wrong"
        known[count, in_place] = order
    return known[count, in_place]


@once_per_plan
def _orders(plan: Plan) -> dict[tuple[int, bool], Order]:
    """Those that were made, by count and sharing."""
    return {}


def _same_facts(before: Order, after: Order) -> bool:
    """Whether each event touches the same bytes, reads the same there, and has the same before it."""
    places = {event.label: event.number for event in before.events}
    if len(places) != len(before.events) or len(before.events) != len(after.events):
        return False
    if any(event.label not in places for event in after.events):
        return False
    pairs = [(before.events[places[event.label]], event) for event in after.events]
    for one, two in pairs:
        if (one.reads, one.writes, one.packets) != (two.reads, two.writes, two.packets):
            return False
        if (one.seen.bit_count(), one.passed.bit_count()) != (two.seen.bit_count(), two.passed.bit_count()):
            return False
    if before.sources != after.sources:
        return False
    # the sets are of numbers, and the two orders number their events in their own ways
    as_before = np.array([one.number for one, _ in pairs])
    for field in ("seen", "passed"):
        sets = [_members([getattr(event, field) for event in order.events]) for order in (before, after)]
        if not np.array_equal(sets[0][np.ix_(as_before, as_before)], sets[1]):
            return False
    return True


def _members(sets: list[int]) -> NDArray[np.uint8]:
    """Sets of events as the rows of a table: 1 for each member."""
    size = -(-len(sets) // 8)
    rows = np.frombuffer(b"".join(each.to_bytes(size, "little") for each in sets), np.uint8).reshape(-1, size)
    return np.unpackbits(rows, axis=1, bitorder="little")[:, : len(sets)]


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
