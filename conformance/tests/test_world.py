"""Worlds: every way in which a test can end on its ranks, and that the next test finds ranks that are whole."""

from __future__ import annotations

import pytest

from hal_conformance.answers import Outcome
from hal_conformance.world import Verdict, Worlds

FORMS = pytest.mark.parametrize("threads", [False, True], ids=["processes", "threads"])


def run(
    worlds: Worlds, part: str, *, threads: bool = False, size: int = 2, limit: float = 20.0, **more: object
) -> Verdict:
    return worlds.get(size, threads=threads).run(f"parts:{part}", more, seed="0:a test", limit=limit)


@FORMS
def test_what_all_ranks_return_is_the_value(worlds: Worlds, threads: bool) -> None:
    assert run(worlds, "fine", threads=threads, value=[1, "two"]).value == [1, "two"]
    first = run(worlds, "chance", threads=threads)
    assert first.outcome == "pass"
    assert first.value == run(worlds, "chance", threads=threads).value


@FORMS
def test_ranks_that_return_different_things_disagree(worlds: Worlds, threads: bool) -> None:
    verdict = run(worlds, "own_number", threads=threads)
    assert (verdict.outcome, verdict.why) == ("fail", "ranks disagree on what they have seen")


@FORMS
def test_a_mismatch_tells_what_was_seen(worlds: Worlds, threads: bool) -> None:
    verdict = run(worlds, "mismatch", threads=threads)
    assert (verdict.outcome, verdict.why) == ("fail", "rank 1 failed")
    answer = verdict.answers[1]
    assert answer is not None
    assert (answer.what, answer.seen, answer.expected) == ("a number", "3", "4")
    assert "parts.py" in answer.where
    assert run(worlds, "fine", threads=threads).outcome == "pass"


def test_who_only_heard_of_it_is_not_blamed(worlds: Worlds) -> None:
    verdict = run(worlds, "consequence")
    assert (verdict.outcome, verdict.why) == ("fail", "rank 1 failed")


def test_a_refusal_of_all_is_known_as_one(worlds: Worlds) -> None:
    verdict = run(worlds, "refusal")
    assert (verdict.outcome, verdict.refused) == ("fail", True)
    verdict = run(worlds, "refusal_of_one")
    assert (verdict.outcome, verdict.refused, verdict.why) == ("fail", False, "ranks disagree on the outcome")


def test_what_the_machine_lacks(worlds: Worlds) -> None:
    verdict = run(worlds, "lack")
    assert (verdict.outcome, verdict.why) == ("resource", "too small a machine")


@FORMS
@pytest.mark.parametrize(
    ("part", "outcome", "why"),
    [
        ("hang", "timeout", "no answer in time of rank 1"),
        ("crash", "crash", "killed by signal 11"),
        ("end", "crash", "exit status 3"),
        ("leave", "fail", "rank 0 failed"),
    ],
)
def test_a_rank_that_is_lost_costs_one_test(
    worlds: Worlds, part: str, outcome: Outcome, why: str, threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hal_conformance.world._GRACE", 0.5)
    verdict = run(worlds, part, threads=threads, limit=1.0 if part == "hang" else 20.0)
    assert verdict.outcome == outcome
    assert why in verdict.why
    if part in ("hang", "crash"):
        assert f"in {part}" in verdict.log  # the stack of the rank
    assert run(worlds, "fine", threads=threads).outcome == "pass"


def test_a_death_between_two_tests_is_told_as_one(worlds: Worlds) -> None:
    assert run(worlds, "fine").outcome == "pass"
    world = worlds.get(2, threads=False)
    world._processes[1].kill()
    world._processes[1].join(20)
    verdict = run(worlds, "fine")
    assert (verdict.outcome, verdict.why) == (
        "crash",
        "the process of rank 1 ended after the test before, and before this one: killed by signal 9",
    )
    assert run(worlds, "fine").outcome == "pass"


def test_a_death_that_belongs_to_the_test(worlds: Worlds) -> None:
    verdict = run(worlds, "death", size=3)
    assert (verdict.outcome, verdict.value) == ("pass", "alive")
    assert run(worlds, "fine", size=3).outcome == "pass"


def test_worlds_make_room_for_each_other(worlds: Worlds) -> None:
    for size in (1, 2, 3, 4, 5, 1):
        assert run(worlds, "fine", size=size, threads=True).outcome == "pass"


def test_what_a_rank_writes_is_shown_with_its_failure(worlds: Worlds) -> None:
    run(worlds, "fine")
    assert "a word of rank 0" in run(worlds, "mismatch").log


def test_an_answer_that_cannot_be_sent_is_a_failure(worlds: Worlds) -> None:
    assert run(worlds, "unpicklable", limit=3.0).outcome == "fail"
