"""No plan that is right is refused, and no mutant that is passed goes wrong (docs/verification-campaign.md)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hal.plan.findings import Code
from hal.plan.model import Plan
from hal.plan.verify import verify

from .campaign import NO_CATEGORY, Results, run
from .extra import EXTRA, parts_of_blocks
from .mutators import mutants
from .oracle import broken
from .order import Order
from .originals import RANKS, originals
from .reasons import REASONS, order_is_kept


def check(results: Results) -> None:
    """The verifier made no mistake, and every mutant that it passed has a reason."""
    assert not results.wrong, "\n".join(results.wrong)
    unexplained = [str(survivor) for survivor in results.survivors if survivor.why == NO_CATEGORY]
    assert not unexplained, "\n".join(unexplained)
    assert {survivor.why for survivor in results.survivors} <= set(REASONS)
    assert results.refused.total() > results.mutants.total() / 2


@pytest.mark.parametrize("ranks", RANKS[:3])
def test_every_original_is_proven(ranks: int) -> None:
    for original in originals((ranks,)):
        assert verify(original.plan).ok, original.name


@pytest.mark.parametrize("build", EXTRA)
def test_the_hand_written_plans_are_right(build: Callable[[int], Plan]) -> None:
    assert broken(build(3), schedules=12) is None


def test_a_sample() -> None:
    results = run(originals((2,)), most=0.15)
    results.add(run(originals((3,)), most=0.05))
    check(results)


def test_the_oracle_sees_what_is_wrong() -> None:
    """Each of these is broken by some schedule, so that a mutant that is not has stood a test."""
    (staged,) = (o.plan for o in originals((3,)) if o.name == "all_reduce/staged")
    for kind in ("remove move", "drop operand", "remove signal and wait"):
        wrong = next(m.make() for m in mutants(staged) if m.kind == kind)
        assert broken(wrong, schedules=40) is not None, kind


def test_the_second_opinion_sees_what_is_wrong() -> None:
    (plan,) = (o.plan for o in originals((2,)) if o.name == "all_reduce/one_phase")
    assert Order(plan, 5, False, {}).ordered()
    unordered = [m.make() for m in mutants(plan) if m.kind == "remove signal and wait"]
    assert unordered
    assert not any(Order(mutant, 5, False, {}).ordered() for mutant in unordered)


def test_the_second_opinion_tells_the_bytes_of_one_write_apart() -> None:
    """Two chunks that one move has written: reading the one for the other is wrong."""
    plan = parts_of_blocks(3)
    changed = [m.make() for m in mutants(plan) if m.kind == "change offset"]
    wrong = [mutant for mutant in changed if {f.code for f in verify(mutant).findings} == {Code.WRONG_RESULT}]
    assert wrong
    assert not any(order_is_kept(plan, mutant) for mutant in wrong)


def test_mutants_differ_from_their_original_in_one_place() -> None:
    plan = EXTRA[0](2)
    found = list(mutants(plan))
    assert len({m.text + m.kind for m in found}) == len(found)
    assert all(m.make() != plan for m in found)
    kinds = {m.kind for m in found}
    assert {
        "remove signal",
        "remove wait",
        "remove flush",
        "move flush",
        "swap neighbours",
        "change offset",
    } - kinds == {
        "remove signal"  # its signals come with its posts
    }
    assert all(isinstance(m.make(), Plan) for m in found)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("ranks", "most"), [(2, 1), (3, 0.3), (4, 0.1), (8, 0.05)])
def test_every_algorithm_and_kind(ranks: int, most: float) -> None:
    results = run(originals((ranks,)), most=most, seed=1)
    check(results)
    if most >= 1:
        assert set(results.mutants) == {m.kind for o in originals((ranks,)) for m in mutants(o.plan)}


@pytest.mark.exhaustive
@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("ranks", RANKS)
def test_all_mutants(ranks: int) -> None:
    check(run(originals((ranks,))))
