"""`abort` and `close` from elsewhere: who waits is released, and later calls raise."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

import hal_collectives as hc
from hal.interface.errors import HalError, PeerFailure, UsageError

from .calls import make
from .threads import on_each


def outcome(call: Any) -> Any:
    try:
        return call()
    except HalError as error:
        return error


@pytest.mark.parametrize("size", [2, 4])
def test_abort_from_another_thread_releases_all(size: int) -> None:
    waiting = threading.Barrier(size + 1)

    def body(comm: hc.Communicator) -> list[Any]:
        waiting.wait(30)
        if comm.rank == size - 1:
            waiting.wait(30)  # for the abort: this rank never calls before it
            return [outcome(comm.barrier), outcome(comm.barrier)]
        first = outcome(comm.barrier)
        waiting.wait(30)
        return [first, outcome(lambda: comm.all_reduce(np.zeros(4)))]

    with hc.local(size, timeout=50) as comms:

        def abort() -> None:
            waiting.wait(30)
            time.sleep(0.2)  # by now the ranks wait
            comms[0].abort()
            waiting.wait(30)

        other = threading.Thread(target=abort)
        other.start()
        began = time.monotonic()
        results = on_each(comms, body)
        other.join(30)
        assert time.monotonic() - began < 25
    for first, second in results:
        assert isinstance(first, PeerFailure), first
        assert isinstance(second, PeerFailure), second
        assert (first.peer, "aborted by rank 0" in str(first)) == (0, True)


def test_abort_releases_those_who_wait_for_messages() -> None:
    def body(comm: hc.Communicator) -> Any:
        if comm.rank == 2:
            time.sleep(0.2)
            comm.abort()
            return outcome(lambda: comm.send(np.zeros(4), 0))
        return outcome(lambda: comm.recv(np.zeros(4), 1 - comm.rank))

    with hc.local(3, timeout=50) as comms:
        began = time.monotonic()
        errors = on_each(comms, body)
        assert time.monotonic() - began < 25
    assert [(type(e), e.peer) for e in errors] == [(PeerFailure, 2)] * 3


def test_asynchronous_calls_are_released_too() -> None:
    def body(comm: hc.Communicator) -> Any:
        if comm.rank == 0:
            time.sleep(0.2)
            comm.abort()
            return None
        work = comm.all_reduce(np.zeros(4), async_op=True)
        return outcome(work.wait)

    with hc.local(2, timeout=50) as comms:
        errors = on_each(comms, body)
    assert isinstance(errors[1], PeerFailure)


def test_an_error_in_the_block_of_a_communicator_aborts_the_others() -> None:
    def fail(comm: hc.Communicator) -> None:
        with comm:
            call = make(comm, "ring")
            call()
            if comm.rank == 1:
                raise LookupError("something of the program's own")
            call()

    with pytest.raises(LookupError):
        hc.run_local(3, fail, timeout=50)


def test_a_closed_communicator_raises_and_closes_twice() -> None:
    with hc.local(2) as comms:
        on_each(comms, lambda comm: comm.all_reduce(np.zeros(4)))
        for comm in comms:
            comm.close()
            comm.close()
            comm.abort()  # nobody is left to be aborted
        for comm in comms:
            for call in (comm.barrier, lambda comm=comm: comm.all_reduce(np.zeros(4))):
                with pytest.raises(UsageError, match="closed"):
                    call()
            with pytest.raises(UsageError, match="closed"):
                comm.send(np.zeros(4), 1 - comm.rank)


def test_closing_under_a_waiting_thread_is_survived() -> None:
    """Misuse, but nothing that may touch memory which is gone."""
    with hc.local(2, timeout=5) as comms:
        waiting = threading.Thread(target=outcome, args=(comms[0].barrier,))
        waiting.start()
        time.sleep(0.2)
        comms[1].close()
        comms[0].close()
        waiting.join(30)
        assert not waiting.is_alive()


def test_a_communicator_in_use_by_another_thread_says_so() -> None:
    with hc.local(2, timeout=5) as comms:
        on_each(comms, lambda comm: comm.barrier())  # from here on by the hot path
        waiting = threading.Thread(target=outcome, args=(comms[0].barrier,))
        waiting.start()
        time.sleep(0.2)
        with pytest.raises(UsageError, match="in use by another thread"):
            comms[0].barrier()
        comms[1].barrier()
        waiting.join(30)
