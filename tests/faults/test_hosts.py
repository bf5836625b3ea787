"""Ranks on several hosts: one that dies, leaves, stops or comes late ends in the same errors as inside a host."""

from __future__ import annotations

import signal

import pytest

from hal_ib.ports import ports

from .calls import KINDS
from .ranks import Job
from .test_death import SOON, assert_others_notice


@pytest.mark.parametrize(("hosts", "kind", "victim"), [("ab", "one_phase", 1), ("aab", "ring", 0)])
def test_a_killed_rank(hosts: str, kind: str, victim: int) -> None:
    assert_others_notice(len(hosts), kind, victim, hosts=hosts)


@pytest.mark.exhaustive
@pytest.mark.parametrize("victim", [0, 2])
@pytest.mark.parametrize("hosts", ["aab", "abb", "abc"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_rank_in_every_kind_of_call(hosts: str, kind: str, victim: int) -> None:
    assert_others_notice(len(hosts), kind, victim, hosts=hosts)


@pytest.mark.parametrize("kind", ["one_phase"])
def test_a_stopped_rank(kind: str) -> None:
    assert_a_stop_is_noticed("abb", kind, 1)


@pytest.mark.exhaustive
@pytest.mark.parametrize("stopped", [0, 2])
@pytest.mark.parametrize("hosts", ["aab", "abc"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_rank_in_every_kind_of_call(hosts: str, kind: str, stopped: int) -> None:
    assert_a_stop_is_noticed(hosts, kind, stopped)


def assert_a_stop_is_noticed(hosts: str, kind: str, stopped: int) -> None:
    with Job(len(hosts), "repeat", hosts, kind=kind, timeout="1s") as job:
        job.expect("ready")
        began = job.ranks[stopped].kill(signal.SIGSTOP)
        others = [r for r in range(len(hosts)) if r != stopped]
        errors = job.expect("error", others)
        assert not [e for e in job.ranks[stopped].events if e["event"] == "error"]
        job.ranks[stopped].kill(signal.SIGCONT)
        errors += job.expect("error", [stopped])
    for error in errors:
        assert error["kind"] == "StallTimeout", error
        assert "a deadline passed on rank" in error["text"]
    for error in errors[:-1]:
        assert 0.9 < error["at"] - began < 1 + SOON
        if kind != "messages":  # whose report is that of the two it concerns
            assert f"rank {stopped}: " in error["text"]


def test_a_rank_that_leaves() -> None:
    with Job(3, "leave", "abb", kind="one_phase", rank=2, how="return") as job:
        job.ranks[2].expect("left")
        errors = job.expect("error", [0, 1])
        assert job.ranks[2].wait() == 0
        assert [job.ranks[r].wait() for r in (0, 1)] == [0, 0]
    for error in errors:
        assert (error["kind"], error["peer"]) == ("PeerFailure", 2), error


@pytest.mark.parametrize("hosts", ["abb", "abc"])
def test_who_hears_last_blames_the_rank_that_left_first(hosts: str) -> None:
    with Job(3, "leave", hosts, kind="one_phase", rank=2, how="return", seconds=0.5) as job:
        job.expect("ready")
        job.ranks[1].kill(signal.SIGSTOP)
        job.expect("error", [0])
        assert job.ranks[0].wait() == 0  # rank 0 has left too, and has told why
        job.ranks[1].kill(signal.SIGCONT)
        (error,) = job.expect("error", [1])
    assert (error["kind"], error["peer"]) == ("PeerFailure", 2), error


@pytest.mark.parametrize("kind", ["barrier", "messages"])
def test_ranks_that_close_right_after_their_last_call_do_not_fail_the_others(kind: str) -> None:
    with Job(4, "last", "aabb", kind=kind, calls=20, close=True) as job:
        job.expect("success")
        assert [rank.wait() for rank in job.ranks] == [0] * 4


def test_a_rank_that_waits_for_another_host_sleeps() -> None:
    with Job(2, "wait_idly", "ab", seconds=1.0) as job:
        waited = job.expect("waited", [1])[0]
    assert waited["cpu"] < 0.3


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.skipif(not ports(), reason="this machine has no RDMA device; `make test-rxe` makes one")
def test_a_killed_rank_over_rdma() -> None:
    victim = 1
    settings = {
        "HAL_TRANSPORTS": "ib",
        "HAL_IB_ACK_TIMEOUT": "60ms",
        "HAL_IB_RETRIES": "2",
        "HAL_HOST_SCRATCH_SIZE": "1M",
    }
    with Job(2, "repeat", "ab", settings, kind="one_phase") as job:
        job.expect("ready")
        killed = job.ranks[victim].kill()
        (error,) = job.expect("error", [1 - victim])
    assert (error["kind"], error["peer"]) == ("PeerFailure", victim), error
    assert error["at"] - killed < 10
