"""A rank that dies or leaves: the others raise `PeerFailure` that names it, soon, whatever they were at."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator

import pytest

from .calls import KINDS
from .ranks import Job

SOON = 3.0
"""Seconds. The aim is less than one; a busy machine may take its time."""


def assert_others_notice(size: int, kind: str, victim: int, delay: float = 0.05, hosts: str | None = None) -> None:
    with Job(size, "repeat", hosts, kind=kind) as job:
        job.expect("ready")
        time.sleep(delay)
        killed = job.ranks[victim].kill()
        others = [r for r in range(size) if r != victim]
        errors = job.expect("error", others)
        job.expect("over", others)
        for rank in others:
            later = job.ranks[rank].events[2]
            assert (later["event"], later["kind"]) == ("error", "PeerFailure")
    for error in errors:
        assert (error["kind"], error["peer"]) == ("PeerFailure", victim), error
        assert f"rank {victim} has died" in error["text"]
    taken = [error["at"] - killed for error in errors]
    print(f"{kind} on {size} ranks: noticed after {', '.join(f'{t * 1e3:.0f}' for t in sorted(taken))} ms")
    assert max(taken) < SOON


@pytest.mark.parametrize(("size", "kind"), [(2, "one_phase"), (3, "messages")])
def test_a_killed_rank_is_noticed_by_all_others(size: int, kind: str) -> None:
    assert_others_notice(size, kind, victim=size - 1)


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, *(pytest.param(size, marks=pytest.mark.exhaustive) for size in (2, 4, 8))])
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_rank_is_noticed_in_every_kind_of_call(size: int, kind: str) -> None:
    for number, victim in enumerate(sorted({0, size - 1})):
        assert_others_notice(size, kind, victim, delay=0.03 + 0.02 * number)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one_phase", "ring", "messages"])
def test_a_killed_rank_is_noticed_by_many(kind: str) -> None:
    assert_others_notice(8, kind, victim=0)


HOW = {"return": "by returning", "raise": "by an error", "skip_close": "without closing"}


def assert_leaving_is_noticed(size: int, kind: str, how: str) -> None:
    rank = size - 1
    with Job(size, "leave", kind=kind, rank=rank, how=how) as job:
        others = list(range(size - 1))
        left = job.ranks[rank].expect("left")["at"]
        errors = job.expect("error", others)
        assert job.ranks[rank].wait() == 0
    for error in errors:
        assert (error["kind"], error["peer"]) == ("PeerFailure", rank), error
        assert error["at"] - left < SOON


@pytest.mark.parametrize("how", HOW)
def test_a_rank_that_leaves_in_place_of_a_call_is_noticed(how: str) -> None:
    assert_leaving_is_noticed(2, "one_phase", how)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["two_phase_mapped", "staged", "messages"])
@pytest.mark.parametrize("how", HOW)
def test_a_rank_that_leaves_is_noticed_in_other_calls(how: str, kind: str) -> None:
    assert_leaving_is_noticed(3, kind, how)


def _burn() -> None:
    while True:
        pass


@pytest.fixture
def _busy_machine() -> Iterator[None]:
    """Twice as many processes that compute as there are processors."""
    burners = [multiprocessing.get_context("spawn").Process(target=_burn, daemon=True) for _ in range(4)]
    for burner in burners:
        burner.start()
    yield
    for burner in burners:
        burner.kill()
        burner.join()


def assert_no_false_alarm(size: int, kind: str, calls: int) -> None:
    with Job(size, "last", kind=kind, calls=calls) as job:
        job.expect("success")


def test_ranks_that_end_after_their_last_call_disturb_nobody() -> None:
    assert_no_false_alarm(3, "one_phase", 3)


@pytest.mark.slow
@pytest.mark.usefixtures("_busy_machine")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kind",
    [
        "one_phase",
        *(
            pytest.param(kind, marks=pytest.mark.exhaustive)
            for kind in ("barrier", "all_pairs_ll", "ring", "two_phase_mapped")
        ),
    ],
)
def test_ranks_that_end_after_their_last_call_disturb_nobody_on_a_busy_machine(kind: str) -> None:
    for size, calls in ((2, 1), (4, 5), (8, 1)):
        assert_no_false_alarm(size, kind, calls)
