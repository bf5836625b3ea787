"""The variable-count forms beyond the matrix: counts that are 0, out of balance, or show an overlap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hal.interface.errors import UsageError
from hal_collectives import Communicator, run_local

COUNTS = {
    "nothing at all": [0, 0, 0, 0],
    "one rank alone": [0, 70_001, 0, 0],
    "the last rank alone": [0, 0, 0, 5],
    "out of balance": [1, 100_000, 0, 33],
    "equal": [64, 64, 64, 64],
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("registered", [False, True])
def test_counts_out_of_balance(name: str, registered: bool) -> None:
    counts = COUNTS[name]
    whole = np.arange(sum(counts), dtype=np.int64)
    places = np.cumsum([0, *counts])

    def body(comm: Communicator) -> None:
        r, root = comm.rank, 2
        mine = whole[places[r] : places[r + 1]]
        x = comm.empty(counts[r], np.int64) if registered else np.empty(counts[r], np.int64)
        x[:] = mine
        y = comm.empty(whole.size, np.int64) if registered else np.empty(whole.size, np.int64)
        assert np.array_equal(comm.all_gather_v(x, y, np.array(counts)), whole)
        got = comm.gather_v(x, y if r == root else None, root=root)
        assert np.array_equal(got, whole) if r == root else got is None
        y[:] = whole
        assert np.array_equal(comm.reduce_scatter_v(y, tuple(counts), x), mine * 4)
        given = (y, counts) if r == root else (None, None)
        assert np.array_equal(comm.scatter_v(*given, x, root), mine)
        # rank i gets as much from everybody as it gives in the others
        table = [counts[(r + k) % 4] for k in range(4)]
        sent = np.full(sum(table), r)
        received = [counts[(k + r) % 4] for k in range(4)]
        got = comm.all_to_all_v(sent, table, recv_counts=received)
        assert np.array_equal(got, np.repeat(np.arange(4), received))

    run_local(4, body, timeout=20)


def test_counts_change_from_call_to_call() -> None:
    def body(comm: Communicator) -> None:
        chance = np.random.default_rng(5)
        for _ in range(100):
            counts = chance.integers(0, 2000, comm.size) * chance.integers(0, 2, comm.size)
            got = comm.all_gather_v(np.full(counts[comm.rank], comm.rank, np.int16))
            assert np.array_equal(got, np.repeat(np.arange(comm.size), counts))

    run_local(3, body, timeout=20)


OVERLAPS: dict[str, Callable[[Communicator, np.ndarray], object]] = {
    "all_gather_v": lambda c, x: c.all_gather_v(x[c.rank * 2 + (c.rank == 1) :][:2], x[:6]),
    "all_gather_v, before": lambda c, x: c.all_gather_v(x[c.rank * 2 + 1 - (c.rank == 1) :][:2], x[1:7]),
    "gather_v": lambda c, x: c.gather_v(x[c.rank * 2 + (c.rank == 1) :][:2], x[:6] if c.rank == 1 else None, root=1),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_an_overlap_that_only_the_counts_show_is_told_to_all(name: str) -> None:
    def body(comm: Communicator) -> None:
        x = np.full(8, comm.rank)
        with pytest.raises(UsageError, match="x and out of rank 1 share memory"):
            OVERLAPS[name](comm, x)
        assert (x == comm.rank).all()
        comm.all_reduce(x)
        assert (x == 3).all()

    run_local(3, body, timeout=10)
