"""A rank whose part in a call is done goes on: to a few calls more, with what the others called compared later."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hal.interface.errors import StallTimeout, UsageError
from hal_collectives import Communicator, run_local
from hal_collectives.algorithms import get
from hal_host.going_on import goes_on

from .programs import printed

AHEAD = 4
"""By so many calls a rank may be ahead; in scratch that has two places in each half, by one less."""

SENDERS: dict[str, Callable[[Communicator, np.ndarray[Any, Any]], Any]] = {
    "broadcast": lambda comm, x: comm.broadcast(x, root=0),
    "scatter": lambda comm, x: comm.scatter(np.tile(x, comm.size) if comm.rank == 0 else None, x, root=0),
}


@pytest.mark.parametrize(
    ("size", "name", "count"),
    [
        (2, "broadcast", 4),
        (2, "broadcast", 600),
        (3, "broadcast", 600),
        (3, "broadcast", 60_000),
        (2, "scatter", 4),
        (2, "scatter", 300),
        (3, "scatter", 600),
    ],
)
def test_who_gives_goes_on(name: str, count: int, size: int) -> None:
    """What it writes next lies elsewhere: the others find what was meant for each call, however late they come."""
    call, ahead = SENDERS[name], threading.Event()
    steps = AHEAD - 1

    def body(comm: Communicator) -> None:
        call(comm, np.zeros(count, np.int32))
        if comm.rank != 0:
            assert ahead.wait(20)
        for step in range(1, steps + 1):
            x = np.full(count, step if comm.rank == 0 else -1, np.int32)
            call(comm, x)
            assert (x == step).all()
        ahead.set()
        comm.barrier()

    run_local(size, body, timeout=20)


def again(call: Callable[..., Any], x: np.ndarray[Any, Any], done: list[int]) -> None:
    for number in range(20):
        call(x)
        done.append(number)


@pytest.mark.parametrize(("size", "count"), [(2, 4), (2, 600), (3, 60_000)])
def test_who_gives_goes_on_only_so_far(size: int, count: int) -> None:
    def body(comm: Communicator) -> None:
        x = np.zeros(count, np.int32)
        comm.broadcast(x)
        done: list[int] = []
        if comm.rank == 0:
            with pytest.raises(StallTimeout, match=r"rank \d: has not entered this call"):
                again(comm.broadcast, x, done)
            assert AHEAD - 1 <= len(done) <= AHEAD

    run_local(size, body, timeout=0.3)


def test_the_first_call_of_a_kind_is_over_when_all_have_called() -> None:
    def body(comm: Communicator) -> None:
        comm.broadcast(np.zeros(4))
        if comm.rank == 0:
            with pytest.raises(StallTimeout, match="rank 1: has not entered this call"):
                comm.broadcast(np.zeros(5))

    run_local(2, body, timeout=0.3)


def test_what_others_called_is_found_later() -> None:
    """Who called something else finds out at once, who had gone on a few calls later; then nobody can call any more."""
    later = threading.Event()

    def body(comm: Communicator) -> None:
        x = np.zeros(4, np.float32)
        comm.broadcast(x)
        if comm.rank != 0:
            with pytest.raises(UsageError, match="ranks disagree on what they call") as caught:
                comm.all_reduce(x)
            assert "rank 0: broadcast(4 elements of float32, root 0)" in str(caught.value)
            assert later.wait(20)
        else:
            comm.broadcast(x)
            with pytest.raises(UsageError, match="ranks disagree on what they call") as caught:
                again(comm.broadcast, x, [])
            assert "all_reduce(4 elements of float32, op sum)" in str(caught.value)
            assert "rank 0 had gone on when it found out" in str(caught.value)
            later.set()
        for _ in range(2):
            with pytest.raises(UsageError, match="rank 0 had gone on when it found out"):
                comm.barrier()

    run_local(2, body, timeout=20)


def test_messages_that_differ_are_found_later() -> None:
    later = threading.Event()

    def body(comm: Communicator) -> None:
        x = np.zeros(4, np.float32)
        if comm.rank == 0:
            comm.send(x, 1)
            with pytest.raises(UsageError, match=r"rank 1: send_recv\(5 elements of float32\)"):
                again(lambda x: comm.send(x, 1), x, [])
            later.set()
        elif comm.rank == 1:
            for _ in range(2):
                comm.recv(x, 0)
            with pytest.raises(UsageError, match=r"rank 0: send_recv\(4 elements of float32\)"):
                comm.recv(np.zeros(5, np.float32), 0)
        assert later.wait(20)
        with pytest.raises(UsageError, match="ranks disagreed on a message between two of them\n  rank 0 had gone on"):
            comm.barrier()

    run_local(3, body, timeout=20)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_calls_with_pauses(size: int) -> None:
    """Calls of many kinds and lengths, with every rank late at times: no launch writes over what another reads."""
    number, lengths = 300, [1, 20, 21, 700, 1024, 5000, 70_000, 140_000]
    plan = random.Random(size)
    names = ["broadcast", "reduce", "gather", "scatter", "send", "all_reduce"]
    calls = [(plan.choice(names), plan.choice(lengths[: plan.choice([3, 5, 8])])) for _ in range(number)]

    def body(comm: Communicator) -> None:
        own = random.Random(100 + comm.rank)
        for turn, (name, count) in enumerate(calls):
            root = turn // 7 % comm.size
            if own.random() < 0.1:
                time.sleep(own.random() * 0.003)
            x = np.full(count, turn + comm.rank, np.int32)
            every = comm.size * turn + sum(range(comm.size))
            match name:
                case "broadcast":
                    assert (comm.broadcast(x, root=root) == turn + root).all()
                case "reduce":
                    out = comm.reduce(x, root=root)
                    assert comm.rank != root or (out == every).all()
                case "gather":
                    rows = np.empty((comm.size, count), np.int32)
                    comm.gather(x, rows if comm.rank == root else None, root=root)
                    if comm.rank == root:
                        assert (rows == turn + np.arange(comm.size)[:, None]).all()
                case "scatter":
                    rows = np.arange(comm.size, dtype=np.int32)[:, None] + np.full(count, turn, np.int32)
                    comm.scatter(rows if comm.rank == root else None, x, root=root)
                    assert (x == turn + comm.rank).all()
                case "send":
                    to = (root + 1) % comm.size
                    if comm.rank == root:
                        comm.send(x, to)
                    elif comm.rank == to:
                        assert (comm.recv(x, root) == turn + root).all()
                case _:
                    assert (comm.all_reduce(x) == every).all()

    run_local(size, body, timeout=20)


def test_calls_in_mapped_memory_wait_for_those_far_behind() -> None:
    """Rank 2 has not compared the last calls of rank 1 when that is four ahead, and calls what all ranks meet for."""

    def body(comm: Communicator) -> None:
        x, y = np.zeros(4, np.int32), comm.empty(1 << 20, np.int32)
        y[:] = 1
        for root in (0, 1):
            comm.broadcast(x, root=root)
        comm.all_reduce(y)
        for _ in range(10):
            time.sleep(0.001 * comm.rank)  # what it is given is there
            comm.broadcast(x, root=0)
        time.sleep(0.1 if comm.rank == 2 else 0)
        for _ in range(AHEAD):
            comm.broadcast(x, root=1)
        assert (comm.all_reduce(y) == 9).all()

    run_local(3, body, timeout=5)


def test_packets_have_one_place_in_each_half() -> None:
    """A rank that has gone on from the call between two with packets waits for those still at the first."""

    def body(comm: Communicator) -> None:
        x, y = np.zeros(4, np.int32), np.ones(3000, np.int32)
        for turn in range(400):
            assert (comm.all_reduce(y, np.empty_like(y)) == comm.size).all()
            comm.broadcast(x, root=turn % comm.size)

    run_local(4, body, timeout=5, algorithms__all_reduce="all_pairs_ll")


LEAVES = """
import time
import numpy as np
import hal_collectives as hc

with hc.init(timeout=20) as comm:
    x = np.full(1000, comm.rank)
    comm.broadcast(x)
    for step in range(3):
        if comm.rank == 0:
            x[:] = step
        else:
            time.sleep(0.3)
        comm.broadcast(x)
        assert (x == step).all()
print("right")
"""


def test_who_gives_may_leave_before_the_others_have_called(tmp_path: Path) -> None:
    assert printed(tmp_path, LEAVES, 3) == ["right"] * 3


def test_which_plans_do() -> None:
    def plans(name: str) -> bool:
        collective, algorithm = name.split("/")
        return goes_on(get(collective, algorithm).build(3, 0 if collective in ("broadcast", "reduce") else None))

    assert all(map(plans, ["broadcast/publish", "broadcast/staged", "reduce/publish", "all_reduce/ring"]))
    assert not any(map(plans, ["all_reduce/one_phase", "all_reduce/all_pairs_ll", "all_gather/publish"]))
