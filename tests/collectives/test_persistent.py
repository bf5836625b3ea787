"""Prepared collectives: every one gives what the plain call gives, again and again, and fails as it does."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hal.interface.errors import StallTimeout, UsageError
from hal.interface.executor import Executor
from hal_collectives import Communicator, Work, run_local
from hal_host.executor import HostExecutor

SIZE = 3
COUNTS = [2, 0, 5]
Made = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[np.ndarray[Any, Any]]]


def made(comm: Communicator, name: str) -> Made:
    """A collective, its arguments, and the arrays that are refilled before each call."""
    n, r = comm.size, comm.rank
    blocks, block, whole = np.empty(n * 4, np.int32), np.empty(4, np.int32), np.empty(n * 4, np.int32)
    mapped = comm.empty(4, np.int32)
    ragged, all_ragged = np.empty(COUNTS[r], np.int32), np.empty(sum(COUNTS), np.int32)
    calls: dict[str, Made] = {
        "all_reduce": (comm.all_reduce, (mapped,), {"op": "max"}, [mapped]),
        "all_reduce_out": (comm.all_reduce, (block, np.empty(4, np.int32)), {}, [block]),
        "reduce": (comm.reduce, (block,), {"root": 1}, [block]),
        "broadcast": (comm.broadcast, (block,), {"root": 2}, [block]),
        "all_gather": (comm.all_gather, (block, whole), {}, [block]),
        "all_gather_new": (comm.all_gather, (block,), {}, [block]),
        "reduce_scatter": (comm.reduce_scatter, (blocks, block), {}, [blocks]),
        "all_to_all": (comm.all_to_all, (blocks, whole), {}, [blocks]),
        "all_to_all_in_place": (comm.all_to_all, (blocks, blocks), {}, [blocks]),
        "gather": (comm.gather, (block,), {"root": 1}, [block]),
        "scatter": (comm.scatter, (blocks if r == 0 else None, block), {}, [blocks]),
        "all_gather_v": (comm.all_gather_v, (ragged,), {}, [ragged]),
        "reduce_scatter_v": (comm.reduce_scatter_v, (all_ragged, COUNTS), {}, [all_ragged]),
        "gather_v": (comm.gather_v, (ragged,), {"root": 2}, [ragged]),
        "scatter_v": (comm.scatter_v, (all_ragged, COUNTS, ragged), {}, [all_ragged]),
        "all_to_all_v": (comm.all_to_all_v, (blocks, [4] * n), {}, [blocks]),
        "barrier": (comm.barrier, (), {}, []),
    }
    return calls[name]


NAMES = (
    "all_reduce",
    "all_reduce_out",
    "reduce",
    "broadcast",
    "all_gather",
    "all_gather_new",
    "reduce_scatter",
    "all_to_all",
    "all_to_all_in_place",
    "gather",
    "scatter",
    "all_gather_v",
    "reduce_scatter_v",
    "gather_v",
    "scatter_v",
    "all_to_all_v",
    "barrier",
)


def fill(comm: Communicator, arrays: list[np.ndarray[Any, Any]], turn: int) -> None:
    for array in arrays:
        array[...] = np.arange(array.size) * 7 + 100 * comm.rank + turn


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "no fast calls"])
@pytest.mark.parametrize("name", NAMES)
def test_a_prepared_call_gives_what_the_plain_one_gives(name: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fast:
        monkeypatch.setattr(HostExecutor, "fast_calls", Executor.fast_calls)

    def body(comm: Communicator) -> None:
        function, arguments, options, arrays = made(comm, name)
        op = function.prepare(*arguments, **options)  # type: ignore[attr-defined]
        for turn in range(3):
            fill(comm, arrays, turn)
            expected = function(*arguments, **options)
            expected = None if expected is None else expected.copy()
            fill(comm, arrays, turn)
            got = op()
            assert (got is None) == (expected is None)
            if expected is not None:
                assert got.tolist() == expected.tolist(), turn

    run_local(SIZE, body, timeout=20)


def test_messages() -> None:
    def body(comm: Communicator) -> None:
        x, out = np.zeros(5), np.zeros(5)
        peer = 1 - comm.rank
        ops = [comm.send.prepare(x, peer), comm.recv.prepare(out, peer)]
        for turn in range(3):
            x[:] = 10 * turn + comm.rank
            for op in ops if comm.rank == 0 else reversed(ops):
                op()
            assert (out == 10 * turn + peer).all()

    run_local(2, body, timeout=20)


def test_it_is_ordered_after_what_is_pending_and_may_itself_be_asynchronous() -> None:
    def body(comm: Communicator) -> None:
        x = np.ones(20_000, np.int64)
        op, later = comm.all_reduce.prepare(x), comm.all_reduce.prepare(x, async_op=True)
        op()  # what runs at once now must not do so while something is pending
        for turn in range(1, 6):
            first, second = comm.all_reduce(x, async_op=True), later()
            assert isinstance(second, Work)
            x_again = op()
            assert first.done()
            assert second.done()
            assert x_again is x
            assert (x == comm.size ** (1 + 3 * turn)).all()

    run_local(2, body, timeout=20)


def test_what_is_prepared_first_while_something_is_pending_waits_for_it() -> None:
    def body(comm: Communicator) -> None:
        x = np.ones(200_000, np.int64)
        out = np.empty(comm.size, np.int64)
        comm.all_reduce(x, async_op=True)
        op = comm.all_gather.prepare(x[-1:], out)
        op()
        assert (out == comm.size).all()

    for _ in range(5):
        run_local(2, body, timeout=20)


def test_nothing_is_communicated_while_preparing() -> None:
    def body(comm: Communicator) -> None:
        if comm.rank == 0:
            for _ in range(3):
                comm.all_reduce.prepare(np.zeros(4))
        comm.barrier()

    run_local(2, body, timeout=20)


def test_bad_arguments_are_errors_of_the_preparation() -> None:
    def body(comm: Communicator) -> None:
        with pytest.raises(UsageError, match="out has 3 elements: 4 are needed"):
            comm.all_reduce.prepare(np.zeros(4), np.zeros(3))
        with pytest.raises(UsageError, match="timeout is -1"):
            comm.barrier.prepare(timeout=-1)
        with pytest.raises(TypeError):
            comm.all_reduce.prepare()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="takes no arguments"):
            comm.all_reduce.prepare(np.zeros(4))(1)  # type: ignore[call-arg]

    run_local(1, body, timeout=20)


def test_a_closed_communicator_refuses_what_was_prepared() -> None:
    def body(comm: Communicator) -> None:
        op = comm.all_reduce.prepare(np.zeros(4))
        op()
        comm.close()
        with pytest.raises(UsageError, match="this communicator is closed"):
            op()
        with pytest.raises(UsageError, match="this communicator is closed"):
            comm.all_reduce.prepare(np.zeros(4))

    run_local(2, body, timeout=20)


def test_ranks_that_disagree_and_ranks_that_stay_away_are_told() -> None:
    def body(comm: Communicator) -> None:
        op = comm.all_reduce.prepare(np.zeros(4 + comm.rank))
        with pytest.raises(UsageError, match="ranks disagree on what they call"):
            op()
        again = comm.all_reduce.prepare(np.zeros(4))
        again()  # the communicator stays usable
        if comm.rank == 0:
            with pytest.raises(StallTimeout, match="all_reduce"):
                comm.all_reduce.prepare(np.zeros(4), timeout=0.2)()

    run_local(2, body, timeout=20)


def test_arrays_live_as_long_as_what_was_prepared_and_no_longer() -> None:
    def body(comm: Communicator) -> None:
        x = np.zeros(4)
        gone = weakref.ref(x)
        op = comm.all_reduce.prepare(x)
        del x
        assert gone() is not None
        op()
        del op
        gc.collect()
        assert gone() is None

    run_local(1, body, timeout=20)


def test_a_call_leaks_no_references() -> None:
    def body(comm: Communicator) -> None:
        x = np.zeros(4)
        op = comm.all_reduce.prepare(x)
        op()
        before = sys.getrefcount(x), sys.getrefcount(None)
        for _ in range(1000):
            op()
        after = sys.getrefcount(x), sys.getrefcount(None)
        assert after[0] == before[0]
        assert abs(after[1] - before[1]) < 500

    run_local(1, body, timeout=20)


def test_a_communicator_is_closed_with_its_last_reference_also_after_calls() -> None:
    def body(comm: Communicator) -> None:
        part = comm.split(0)
        assert part is not None
        part.barrier()
        group = weakref.ref(part._group)
        call = part.barrier
        del part
        call()  # a collective keeps what it needs
        del call
        found = group()
        assert found is None or found.executor._closed  # type: ignore[attr-defined]

    run_local(2, body, timeout=20)


def test_it_is_documented_like_a_method() -> None:
    assert "Reduce `x` over all ranks" in str(Communicator.all_reduce.__doc__)


def test_a_subclass_may_replace_a_collective() -> None:
    class Counting(Communicator):
        calls = 0

        def barrier(self, **options: Any) -> Any:  # type: ignore[override]
            self.calls += 1
            return super().barrier(**options)

    def body(comm: Communicator) -> None:
        counting = Counting(comm._group)
        for _ in range(3):
            counting.barrier()
        assert counting.calls == 3

    run_local(1, body, timeout=20)
