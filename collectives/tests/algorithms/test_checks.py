"""The checks of this folder catch what they are for: plans broken on purpose fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from hal.plan.layout import Layout
from hal.plan.model import Instruction, Loop, Move, Plan, Signal, Wait
from hal_collectives.algorithms import get

from .interpreter import DeadlockError, RaceError
from .test_results import build, check


def edited(plan: Plan, edit: Callable[[list[Instruction]], list[Instruction]], rank: int | None = None) -> Plan:
    """The plan with `edit` applied to the instructions of one rank or of all."""
    return replace(
        plan,
        ranks=tuple(
            replace(part, blocks=tuple(tuple(edit(list(block))) for block in part.blocks))
            if rank in (None, number)
            else part
            for number, part in enumerate(plan.ranks)
        ),
    )


def without_last_meeting(block: list[Instruction]) -> list[Instruction]:
    last = max(i for i, instruction in enumerate(block) if isinstance(instruction, Signal))
    return [i for n, i in enumerate(block) if n < last or not isinstance(i, Signal | Wait)]


def with_one_slot(block: list[Instruction]) -> list[Instruction]:
    return [replace(i, slots=1) if isinstance(i, Loop) else i for i in block]


def without_waits(block: list[Instruction]) -> list[Instruction]:
    return [i for i in block if not isinstance(i, Wait)]


def without_signals(block: list[Instruction]) -> list[Instruction]:
    return [i for i in block if not isinstance(i, Signal)]


def without_other_contributions(block: list[Instruction]) -> list[Instruction]:
    return [replace(i, src=i.src[:1]) if isinstance(i, Move) else i for i in block]


def run(plan: Plan, count: int = 200) -> None:
    check(plan, Layout.uniform(plan, count, 4), in_place=False, seed=1)


@pytest.mark.parametrize(
    ("collective", "name"),
    [
        ("all_reduce", "two_phase_mapped"),
        ("all_gather", "direct_mapped"),
        ("all_to_all", "direct_mapped"),
        ("reduce_scatter", "direct_mapped"),
        ("reduce", "direct_mapped"),
    ],
)
def test_leaving_before_the_others_have_read_is_a_race(collective: str, name: str) -> None:
    with pytest.raises(RaceError):
        run(edited(build(get(collective, name), 3), without_last_meeting))


@pytest.mark.parametrize("name", ["staged", "ring"])
def test_too_few_slots_are_a_race(name: str) -> None:
    with pytest.raises(RaceError):
        run(edited(build(get("all_gather", name), 3), with_one_slot))


def test_reading_without_waiting_is_a_race() -> None:
    with pytest.raises((RaceError, AssertionError)):
        run(edited(build(get("all_reduce", "one_phase"), 2), without_waits))


def test_waiting_for_a_signal_that_nobody_sends_is_a_deadlock() -> None:
    with pytest.raises(DeadlockError):
        run(edited(build(get("all_reduce", "binomial_tree"), 4), without_signals, rank=3))


def test_a_missing_contribution_is_a_wrong_result() -> None:
    with pytest.raises(AssertionError, match="not equal"):
        run(edited(build(get("all_reduce", "one_phase"), 3), without_other_contributions))
