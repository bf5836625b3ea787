"""A rank that does not come: every rank raises the same `StallTimeout`, whose text says where each stands."""

from __future__ import annotations

import math
import re
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

import hal_collectives as hc
from hal.interface.errors import PeerFailure, StallTimeout, UsageError

from .calls import KINDS, PINS, make
from .ranks import Job
from .threads import on_each

TIMEOUT = 0.5

SIGNALS = r"«wait .*»: waits on channel \d+ for rank {late}: expected \d+ signals, seen \d+"
ARRIVAL = r"rank \d+: waits for rank {late} to enter this call"
REPORTED = {
    "one_phase": rf"rank 0, block 0, at instruction 2 {SIGNALS}",
    "all_pairs_ll": r"rank 0, block 0, at instruction 2 «move .*packets.*»: waits for packets in .*: expected 64",
    "recursive_doubling": rf"block 0, at instruction \d {SIGNALS}",
    "ring": rf"rank 0, block 0, at instruction 0\.\d {SIGNALS}",
    "staged": rf"rank 0, block 0, at instruction 0\.\d+ {SIGNALS}",
    "two_phase_mapped": ARRIVAL,
    "binomial_tree": ARRIVAL,
    "messages": ARRIVAL,
    "barrier": rf"rank 0, block 0, at instruction 1 {SIGNALS}",
}
"""What at least one rank says, in the report, of where it stands."""


GOING_ON = ("binomial_tree", "messages")
"""Where ranks would go on without the late one, but for the first call of its kind."""


def assert_all_stall(size: int, kind: str) -> None:
    late = size - 1
    failed = threading.Event()

    def body(comm: hc.Communicator) -> None:
        call = make(comm, kind)
        if kind not in GOING_ON:
            call()
        if comm.rank == late:
            failed.wait(10 * TIMEOUT)
        began = time.monotonic()
        try:
            call()
        except StallTimeout:
            failed.set()
            if comm.rank != late and time.monotonic() - began < 0.9 * TIMEOUT:
                raise AssertionError("before its time") from None
            raise

    with hc.local(size, timeout=TIMEOUT, **PINS.get(kind, {})) as comms:
        errors = on_each(comms, body)
        again = on_each(comms, lambda comm: comm.barrier())
    # who passes a message on has done so; rank 0 waits for the last one
    waiting = sorted({0, late - 1, late}) if kind == "messages" else range(size)
    errors = [errors[rank] for rank in waiting]
    assert [type(e) for e in errors] == [StallTimeout] * len(waiting), errors
    assert [e.rank for e in errors] == list(waiting)
    assert all(isinstance(e, StallTimeout) for e in again)
    reports = [re.sub(r" \[rank .*\]$", "", str(error)) for error in errors]
    if kind != "messages":  # whose report is that of the two it concerns
        assert len(set(reports)) == 1, reports
        lines = reports[0].splitlines()
        assert re.fullmatch(r"a deadline passed on rank \d+ while it waited for others", lines[0])
        assert {int(re.findall(r"^  rank (\d+)", line)[0]) for line in lines[1:]} == set(range(size))
        assert lines[-1] == f"  rank {late}: has not entered this call"
    assert any(re.search(REPORTED[kind].format(late=late), report) for report in reports), reports[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_rank_that_comes_too_late(kind: str) -> None:
    assert_all_stall(3, kind)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_a_rank_that_comes_too_late_among_others(kind: str, size: int) -> None:
    assert_all_stall(size, kind)


def test_a_stopped_process_stalls_the_others_and_learns_of_it_when_it_goes_on() -> None:
    with Job(3, "repeat", kind="one_phase", timeout="1s") as job:
        job.expect("ready")
        job.ranks[1].kill(signal.SIGSTOP)
        errors = job.expect("error", [0, 2])
        assert not [e for e in job.ranks[1].events if e["event"] == "error"]
        job.ranks[1].kill(signal.SIGCONT)
        errors += job.expect("error", [1])
    assert [e["kind"] for e in errors] == ["StallTimeout"] * 3
    assert all("waits on channel" in e["text"] and "rank 1" in e["text"] for e in errors[:2])


@pytest.mark.slow
@pytest.mark.parametrize("size", [pytest.param(2, marks=pytest.mark.exhaustive), 8])
@pytest.mark.parametrize("kind", ["two_phase_mapped", "staged", "ring", "all_pairs_ll", "binomial_tree"])
def test_stopped_processes_in_other_calls(kind: str, size: int) -> None:
    with Job(size, "repeat", kind=kind, timeout="2s") as job:
        job.expect("ready")
        job.ranks[0].kill(signal.SIGSTOP)
        job.expect("error", range(1, size))
        job.ranks[0].kill(signal.SIGCONT)
        errors = job.expect("error")
    assert [e["kind"] for e in errors] == ["StallTimeout"] * size, errors


@pytest.mark.slow
def test_a_late_process_finds_the_stall() -> None:
    with Job(2, "late", kind="staged", rank=0, seconds=3.0, timeout="1s") as job:
        errors = job.expect("error")
    assert [e["kind"] for e in errors] == ["StallTimeout"] * 2
    assert errors[1]["after"] >= 0.9
    assert errors[0]["after"] < 0.9


def test_a_timeout_of_the_call_goes_before_that_of_the_communicator() -> None:
    def body(comm: hc.Communicator) -> Any:
        x = np.zeros(4)
        comm.all_reduce(x)
        if comm.rank == 0:
            began = time.monotonic()
            with pytest.raises(StallTimeout):
                comm.all_reduce(x, timeout=0.5)
            return time.monotonic() - began
        return None

    with hc.local(2, timeout=50) as comms:
        taken = on_each(comms, body)[0]
    assert 0.4 < taken < 20


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf])
def test_a_timeout_is_a_number_of_seconds_above_0(timeout: float) -> None:
    with hc.local(1) as (comm,), pytest.raises(UsageError, match="timeout"):
        comm.barrier(timeout=timeout)


@pytest.mark.parametrize("timeout", [1e-12, 1e9])
def test_very_short_and_very_long_timeouts_are_taken(timeout: float) -> None:
    with hc.local(1) as (comm,):
        comm.barrier(timeout=timeout)


def test_two_ranks_that_send_to_each_other_stall() -> None:
    def body(comm: hc.Communicator) -> None:
        mapped = comm.empty(1 << 18, np.int32)  # a receiver reads it in place, so that the sender waits for it
        comm.barrier()
        comm.send(mapped, 1 - comm.rank)

    with hc.local(2, timeout=TIMEOUT) as comms:
        errors = on_each(comms, body)
    assert [type(e) for e in errors] == [StallTimeout] * 2, errors
    assert "waits for rank" in str(errors[0])


def test_a_stall_between_two_ranks_ends_the_calls_of_all() -> None:
    def body(comm: hc.Communicator) -> None:
        if comm.rank == 0:
            comm.recv(np.zeros(4), 1, timeout=TIMEOUT)
        else:
            comm.barrier(timeout=50)

    with hc.local(3, timeout=50) as comms:
        began = time.monotonic()
        errors = on_each(comms, body)
        assert time.monotonic() - began < 25
    assert [type(e) for e in errors] == [StallTimeout] * 3, errors


def test_communicators_used_in_different_orders_stall() -> None:
    def body(comm: hc.Communicator) -> None:
        other = comm.split(0)
        assert other is not None
        x = np.zeros(4)
        try:
            for each in (comm, other) if comm.rank else (other, comm):
                each.all_reduce(x)
        finally:
            other.close()

    with hc.local(2, timeout=TIMEOUT) as comms:
        errors = on_each(comms, body)
    assert {type(e) for e in errors} <= {StallTimeout, PeerFailure}
    assert any(isinstance(e, StallTimeout) for e in errors)


def test_ranks_that_disagree_go_on_afterwards() -> None:
    """Nobody is taken for dead who has left the disagreement behind and ended, while others still hear of it."""

    def body(comm: hc.Communicator) -> str:
        for _ in range(20):
            with pytest.raises(UsageError, match="ranks disagree"):
                comm.all_reduce(np.zeros(4 + (comm.rank == 1)))
            comm.barrier()
        with pytest.raises(UsageError, match="ranks disagree"):
            comm.all_reduce(np.zeros(4 + (comm.rank == 1)))
        comm.close()
        return "done"

    with hc.local(4, timeout=50) as comms:
        assert on_each(comms, body) == ["done"] * 4
