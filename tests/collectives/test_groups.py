"""`split`: groups of some of the ranks, beside and inside one another."""

from __future__ import annotations

import numpy as np
import pytest

from hal.interface.errors import UsageError
from hal_collectives import Communicator, run_local


def members(comm: Communicator, world: int) -> list[int]:
    """The ranks of the world in this group, in its order, as a collective of the group tells."""
    return [int(n) for n in comm.all_gather(np.array([world])).ravel()]


def test_the_whole_world() -> None:
    def body(comm: Communicator) -> list[int]:
        with comm.split(0) as same:  # type: ignore[union-attr]  # a color gives a group
            assert (same.rank, same.size) == (comm.rank, comm.size)
            return members(same, comm.rank)

    assert run_local(4, body, timeout=20) == [[0, 1, 2, 3]] * 4


def test_reversed_by_the_key() -> None:
    def body(comm: Communicator) -> list[int]:
        group = comm.split(7, key=-comm.rank)
        assert group is not None
        assert group.rank == comm.size - 1 - comm.rank
        x = np.array([comm.rank])
        group.broadcast(x, root=0)
        assert x[0] == comm.size - 1
        return members(group, comm.rank)

    assert run_local(4, body, timeout=20) == [[3, 2, 1, 0]] * 4


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_halves_and_odd_and_even(size: int) -> None:
    def body(comm: Communicator) -> None:
        r = comm.rank
        half = comm.split(int(r < size // 2))
        parity = comm.split(r % 2)
        assert half is not None
        assert parity is not None
        assert members(half, r) == [k for k in range(size) if (k < size // 2) == (r < size // 2)]
        assert members(parity, r) == list(range(r % 2, size, 2))
        # all three take turns; each has its own order of calls
        for turn in range(20):
            for group, expected in (
                (half, sum(members(half, r))),
                (parity, sum(members(parity, r))),
                (comm, size * (size - 1) // 2),
            ):
                x = np.full(turn * 300 + 1, r)
                group.all_reduce(x)
                assert (x == expected).all()

    run_local(size, body, timeout=20)


def test_no_color_joins_no_group() -> None:
    def body(comm: Communicator) -> list[int] | None:
        group = comm.split(None if comm.rank == 1 else 0)
        comm.barrier()
        return None if group is None else members(group, comm.rank)

    assert run_local(3, body, timeout=20) == [[0, 2], None, [0, 2]]


def test_groups_inside_groups() -> None:
    def body(comm: Communicator) -> list[int]:
        outer = comm.split(comm.rank // 4)
        assert outer is not None
        inner = outer.split(outer.rank % 2, key=-outer.rank)
        assert inner is not None
        inner.send(np.array([comm.rank]), 1 - inner.rank, async_op=True)
        got = inner.recv(np.zeros(1, np.int64), 1 - inner.rank)
        assert abs(got[0] - comm.rank) == 2
        return members(inner, comm.rank)

    assert run_local(8, body, timeout=20) == [[2, 0], [3, 1]] * 2 + [[6, 4], [7, 5]] * 2


def test_one_rank_alone() -> None:
    def body(comm: Communicator) -> None:
        alone = comm.split(comm.rank)
        assert alone is not None
        x = np.arange(4.0)
        assert (alone.all_reduce(x, op="avg") == np.arange(4)).all()
        assert (alone.all_gather(x) == np.arange(4)).all()
        alone.barrier()

    run_local(3, body, timeout=20)


def test_registered_memory_of_the_parent_serves_the_child() -> None:
    def body(comm: Communicator) -> None:
        x = comm.empty(100_000, np.int64)
        group = comm.split(comm.rank % 2)
        assert group is not None
        x[:] = comm.rank
        group.all_reduce(x)
        assert (x == sum(range(comm.rank % 2, comm.size, 2))).all()
        y = group.empty(100_000, np.int64)
        group.close()
        y[:] = comm.rank
        comm.all_reduce(y)
        assert (y == 6).all()
        assert (x == sum(range(comm.rank % 2, comm.size, 2))).all()

    run_local(4, body, timeout=20)


def test_closing_a_child_leaves_the_parent() -> None:
    def body(comm: Communicator) -> None:
        for turn in range(10):
            group = comm.split(comm.rank % 2)
            assert group is not None
            group.all_reduce(np.ones(3))
            group.close()
            group.close()
            with pytest.raises(UsageError, match="closed"):
                group.all_reduce(np.ones(3))
            x = np.full(3, turn)
            comm.all_reduce(x)
            assert (x == turn * comm.size).all()

    run_local(4, body, timeout=20)


@pytest.mark.parametrize("name", ["all_reduce", "all_gather", "barrier", "all_gather_v", "send", "split", "async"])
def test_a_closed_communicator_says_so(name: str) -> None:
    def body(comm: Communicator) -> None:
        x = np.ones(3)
        comm.all_reduce(x)  # what was remembered is forgotten
        comm.all_gather(x)
        comm.barrier()
        comm.close()
        calls = {
            "all_reduce": lambda: comm.all_reduce(x),
            "all_gather": lambda: comm.all_gather(x),
            "barrier": comm.barrier,
            "all_gather_v": lambda: comm.all_gather_v(x),
            "send": lambda: comm.send(x, 1 - comm.rank),
            "split": lambda: comm.split(0),
            "async": lambda: comm.all_reduce(x, async_op=True),
        }
        with pytest.raises(UsageError, match="closed") as caught:
            calls[name]()
        assert caught.value.rank == comm.rank

    run_local(2, body, timeout=20)


@pytest.mark.parametrize(("color", "key"), [("a", 0), (1.5, 0), (0, "x"), (0, None), (True, 0), ([1], 0)])
def test_bad_colors_and_keys(color: object, key: object) -> None:
    def body(comm: Communicator) -> None:
        if comm.rank == 0:
            with pytest.raises(UsageError) as caught:
                comm.split(color, key)  # type: ignore[arg-type]  # wrong on purpose
            assert (caught.value.rank, caught.value.operation) == (0, "split")
        group = comm.split(0)
        assert group is not None
        assert members(group, comm.rank) == [0, 1]

    run_local(2, body, timeout=5)
