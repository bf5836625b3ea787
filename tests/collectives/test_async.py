"""Asynchronous calls: order, results, several under way at once, and errors that come with `wait`."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from hal.interface.errors import PeerFailure, StallTimeout, UsageError
from hal_collectives import Communicator, Work, run_local


def test_calls_run_in_order() -> None:
    def body(comm: Communicator) -> bool:
        x = np.full(1000, comm.rank + 1, np.int64)
        works = [comm.all_reduce(x, async_op=True) for _ in range(6)]  # each reduces what the last one left
        results = [work.wait() for work in works]
        assert all(result is x for result in results)
        assert all(work.done() for work in works)
        return bool((x == 6 * 3**5).all())

    assert all(run_local(3, body, timeout=20))


def test_many_calls_of_several_kinds_are_under_way_at_once() -> None:
    def body(comm: Communicator) -> None:
        n, r = comm.size, comm.rank
        pending: list[tuple[Work, object]] = []
        for turn in range(30):
            x = np.full(turn * 37 + n, r + turn, np.int32)
            pending.append((comm.all_reduce(x, async_op=True), n * turn + n * (n - 1) // 2))
            pending.append((comm.all_gather(np.array([r + turn]), async_op=True), [[k + turn] for k in range(n)]))
            y = np.full(5, r, np.float32)
            pending.append((comm.broadcast(y, root=turn % n, async_op=True), turn % n))
            pending.append((comm.all_to_all(np.arange(n) + 10 * r, async_op=True), np.arange(n) * 10 + r))
        for work, expected in reversed(pending):
            assert (work.wait() == expected).all()

    run_local(4, body, timeout=20)


def test_a_synchronous_call_comes_after_the_asynchronous_ones() -> None:
    def body(comm: Communicator) -> None:
        for turn in range(20):
            x = np.full(20_000, 1, np.int64)
            work = comm.all_reduce(x, async_op=True)
            comm.all_reduce(x)
            assert work.done()
            assert (x == comm.size**2).all(), turn
            comm.barrier()
            comm.all_reduce(x)  # nothing pending now
            assert (x == comm.size**3).all(), turn

    run_local(3, body, timeout=20)


def test_the_hot_path_does_not_overtake_what_is_pending() -> None:
    """A call made before, and so remembered, waits for asynchronous calls like any other."""

    def body(comm: Communicator) -> None:
        x = np.ones(4, np.int64)
        for _ in range(3):
            comm.all_reduce(x)  # remembered from here on
        for _ in range(50):
            x[:] = comm.rank
            work = comm.broadcast(x, root=1, async_op=True)
            comm.all_reduce(x)
            assert (x == comm.size).all()
            assert work.wait() is x

    run_local(3, body, timeout=20)


def test_wait_with_a_timeout_leaves_the_call_going() -> None:
    gate = threading.Event()

    def body(comm: Communicator) -> None:
        x = np.ones(3)
        if comm.rank == 0:
            work = comm.all_reduce(x, async_op=True)
            with pytest.raises(StallTimeout, match="all_reduce"):
                work.wait(timeout=0.2)
            assert not work.done()
            gate.set()
            assert (work.wait(timeout=15) == 2).all()
            assert (work.wait() == 2).all()  # waiting again is allowed
        else:
            assert gate.wait(15)
            comm.all_reduce(x)

    run_local(2, body, timeout=20)


def test_bad_input_is_told_at_once() -> None:
    def body(comm: Communicator) -> None:
        with pytest.raises(UsageError):
            comm.all_reduce(np.ones(6)[::2], async_op=True)
        with pytest.raises(UsageError):
            comm.all_reduce(np.ones(6), op="bor", async_op=True)
        assert (comm.all_reduce(np.ones(2), async_op=True).wait() == 2).all()

    run_local(2, body, timeout=20)


def test_wait_raises_what_the_call_raised() -> None:
    def body(comm: Communicator) -> None:
        works = [
            comm.all_reduce(np.ones(2), async_op=True),
            comm.all_reduce(np.ones(2 + comm.rank), async_op=True),
            comm.all_reduce(np.ones(2), async_op=True),
        ]
        assert (works[0].wait() == 2).all()
        for _ in range(2):
            with pytest.raises(UsageError, match="disagree"):
                works[1].wait()
        assert (works[2].wait() == 2).all()
        assert (comm.all_reduce(np.ones(2)) == 2).all()

    run_local(2, body, timeout=20)


def test_abort_ends_what_is_pending() -> None:
    def body(comm: Communicator) -> None:
        if comm.rank == 0:
            works = [comm.all_reduce(np.ones(2), async_op=True) for _ in range(3)]
            with pytest.raises(StallTimeout):
                works[0].wait(timeout=0.1)
            comm.abort()
            for work in works:
                with pytest.raises(PeerFailure, match="aborted"):
                    work.wait()

    run_local(2, body, timeout=20)


def test_closing_waits_for_what_is_pending() -> None:
    def body(comm: Communicator) -> bool:
        arrays = [np.full(5000, comm.rank + k, np.int64) for k in range(8)]
        works = [comm.all_reduce(x, async_op=True) for x in arrays]
        comm.close()
        return all((work.wait() == 3 * k + 3).all() for k, work in enumerate(works))

    assert all(run_local(3, body, timeout=20))


def test_variable_counts() -> None:
    def body(comm: Communicator) -> None:
        works = [comm.all_gather_v(np.full(comm.rank + turn, comm.rank, np.int16), async_op=True) for turn in range(5)]
        for turn, work in enumerate(works):
            assert np.array_equal(work.wait(), np.repeat(np.arange(3), [turn, turn + 1, turn + 2]))

    run_local(3, body, timeout=20)


def test_two_ranks_send_to_each_other() -> None:
    def body(comm: Communicator) -> None:
        other = 1 - comm.rank
        for count in (0, 1, 1000, 300_000):
            x, y = np.full(count, comm.rank), np.full(count, -1)
            sending = comm.send(x, other, async_op=True)
            receiving = comm.recv(y, other, async_op=True)
            assert receiving.wait() is y
            sending.wait()
            assert (y == other).all()

    run_local(2, body, timeout=20)


def test_collectives_and_messages_mix() -> None:
    def body(comm: Communicator) -> None:
        n, r = comm.size, comm.rank
        for turn in range(20):
            out = np.zeros(turn * 500)
            receiving = comm.recv(out, (r - 1) % n, async_op=True)
            total = comm.all_reduce(np.array([r]), async_op=True)
            sending = comm.send(np.full(turn * 500, r + 0.5), (r + 1) % n, async_op=True)
            comm.barrier()
            assert total.wait()[0] == n * (n - 1) // 2
            sending.wait()
            assert (receiving.wait() == (r - 1) % n + 0.5).all()

    run_local(4, body, timeout=20)
