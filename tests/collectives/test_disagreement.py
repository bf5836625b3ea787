"""Ranks that call different things: `UsageError` on every rank, naming who said what, and the next call works.

The timeout is long: a rank that would wait for others until it passes makes the test fail by its error's type.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hal.interface.errors import HalError, UsageError
from hal_collectives import Communicator, run_local

Array = NDArray[Any]
Make = Callable[[int, Any], Array]
"""An array of so many elements of a type, in plain or registered memory."""
Call = Callable[[Communicator, Make, int], Any]
SIZES = [2, 3, 5]
SMALL, LARGE = 30, 60_000
F4, F8, I4 = np.float32, np.float64, np.int32

# What all ranks but one call and what the one calls, with the words by which the message tells them apart.
PAIRS: dict[str, tuple[Call, Call, str, str]] = {
    "size": (
        lambda c, a, n: c.all_reduce(a(n, F4)),
        lambda c, a, n: c.all_reduce(a(n + 1, F4)),
        "all_reduce({n} elements of float32, op sum)",
        "all_reduce({m} elements of float32, op sum)",
    ),
    "dtype": (
        lambda c, a, n: c.all_reduce(a(n, F4)),
        lambda c, a, n: c.all_reduce(a(n, I4)),
        "elements of float32",
        "elements of int32",
    ),
    "op": (
        lambda c, a, n: c.all_reduce(a(n, F4)),
        lambda c, a, n: c.all_reduce(a(n, F4), op="max"),
        "op sum",
        "op max",
    ),
    "root": (
        lambda c, a, n: c.broadcast(a(n, F4), root=0),
        lambda c, a, n: c.broadcast(a(n, F4), root=1),
        "root 0",
        "root 1",
    ),
    "root of reduce": (
        lambda c, a, n: c.reduce(a(n, F4), root=1),
        lambda c, a, n: c.reduce(a(n, F4), root=0),
        "root 1",
        "root 0",
    ),
    "root of gather": (
        lambda c, a, n: c.gather(a(n, F4), root=1),
        lambda c, a, n: c.gather(a(n, F4), root=0),
        "root 1",
        "root 0",
    ),
    "root of scatter": (
        lambda c, a, n: c.scatter(a(n * c.size, F4), a(n, F4), root=1),
        lambda c, a, n: c.scatter(a(n * c.size, F4), a(n, F4), root=0),
        "root 1",
        "root 0",
    ),
    "size of all_gather": (
        lambda c, a, n: c.all_gather(a(n, F8)),
        lambda c, a, n: c.all_gather(a(n + 1, F8)),
        "all_gather({n} elements",
        "all_gather({m} elements",
    ),
    "size of all_to_all": (
        lambda c, a, n: c.all_to_all(a(n * c.size, F4)),
        lambda c, a, n: c.all_to_all(a((n + 1) * c.size, F4)),
        "all_to_all({n} elements",
        "all_to_all({m} elements",
    ),
    "op of reduce_scatter": (
        lambda c, a, n: c.reduce_scatter(a(n * c.size, I4), op="bor"),
        lambda c, a, n: c.reduce_scatter(a(n * c.size, I4), op="band"),
        "op bor",
        "op band",
    ),
    "collective": (
        lambda c, a, n: c.all_reduce(a(n, F4)),
        lambda c, a, n: c.all_gather(a(n, F4)),
        "all_reduce(",
        "all_gather(",
    ),
    "broadcast and reduce": (
        lambda c, a, n: c.broadcast(a(n, F4)),
        lambda c, a, n: c.reduce(a(n, F4)),
        "broadcast(",
        "reduce(",
    ),
    "barrier": (
        lambda c, a, n: c.barrier(),
        lambda c, a, n: c.all_reduce(a(n, F4)),
        "barrier(",
        "all_reduce(",
    ),
    "barrier of one": (
        lambda c, a, n: c.all_reduce(a(n, F4)),
        lambda c, a, n: c.barrier(),
        "all_reduce(",
        "barrier(",
    ),
    "async": (
        lambda c, a, n: c.all_reduce(a(n, F4), async_op=True).wait(),
        lambda c, a, n: c.all_reduce(a(n, F8), async_op=True).wait(),
        "elements of float32",
        "elements of float64",
    ),
    "variable and uniform": (
        lambda c, a, n: c.all_gather(a(n, F4)),
        lambda c, a, n: c.all_gather_v(a(n, F4)),
        "all_gather(",
        "all_gather_v(",
    ),
    "variable and the like of its exchange": (
        lambda c, a, n: c.all_gather(a(c.size + 2, np.int64)),
        lambda c, a, n: c.all_gather_v(a(n, F4)),
        "all_gather(",
        "all_gather_v(",
    ),
    "two variable ones": (
        lambda c, a, n: c.all_gather_v(a(n, F4)),
        lambda c, a, n: c.all_to_all_v(a(n * c.size, F4), [n] * c.size),
        "all_gather_v(",
        "all_to_all_v(",
    ),
    "dtype of a variable one": (
        lambda c, a, n: c.all_gather_v(a(n, F4)),
        lambda c, a, n: c.all_gather_v(a(n, I4)),
        "all_gather_v(float32)",
        "all_gather_v(int32)",
    ),
    "op of a variable one": (
        lambda c, a, n: c.reduce_scatter_v(a(n * c.size, F4), [n] * c.size),
        lambda c, a, n: c.reduce_scatter_v(a(n * c.size, F4), [n] * c.size, op="min"),
        "op sum",
        "op min",
    ),
    "root of a variable one": (
        lambda c, a, n: c.gather_v(a(n, F4), root=0),
        lambda c, a, n: c.gather_v(a(n, F4), root=1),
        "root 0",
        "root 1",
    ),
    "root of scatter_v": (
        lambda c, a, n: c.scatter_v(a(n * c.size, F4), [n] * c.size, a(n, F4), root=1),
        lambda c, a, n: c.scatter_v(a(n * c.size, F4), [n] * c.size, a(n, F4), root=0),
        "root 1",
        "root 0",
    ),
    "counts of reduce_scatter_v": (
        lambda c, a, n: c.reduce_scatter_v(a(n * c.size, F4), [n] * c.size),
        lambda c, a, n: c.reduce_scatter_v(a(n * c.size, F4), [n + 1, n - 1] + [n] * (c.size - 2)),
        "{n}, {n}",
        "{m}, ",
    ),
    "counts of all_gather_v": (
        lambda c, a, n: c.all_gather_v(a(n, F4), counts=[n] * c.size),
        lambda c, a, n: c.all_gather_v(a(n + 1, F4)),
        "{n}",
        "{m}",
    ),
    "counts of all_to_all_v": (
        lambda c, a, n: c.all_to_all_v(a(n * c.size, F4), [n] * c.size),
        lambda c, a, n: c.all_to_all_v(a(n * c.size, F4), [n] * c.size, recv_counts=[n + 1] * c.size),
        "sends {n}",
        "{m}, {m}",
    ),
    "out of all_gather_v": (
        lambda c, a, n: c.all_gather_v(a(n, F4)),
        lambda c, a, n: c.all_gather_v(a(n, F4), a(n, F4)),
        "out of rank {odd}",
        "{n} elements",
    ),
    "out of reduce_scatter_v": (
        lambda c, a, n: c.scatter_v(a(n * c.size, F4), [n] * c.size if c.rank == 0 else None, a(n, F4)),
        lambda c, a, n: c.scatter_v(None, None, a(n + 1, F4)),
        "out of rank {odd}",
        "{m} elements",
    ),
}


def maker(comm: Communicator, registered: bool) -> Make:
    def make(count: int, dtype: Any) -> Array:
        made = comm.empty(count, dtype) if registered else np.empty(count, dtype)
        made[:] = 1
        return made

    return make


def disagree(comm: Communicator, names: list[str], count: int, odd: int) -> list[str]:
    """Rank `odd` calls otherwise, over and over, with plain and with registered memory."""
    wrong = []
    for name in names:
        many, one, theirs, its = PAIRS[name]
        for registered in (False, True):
            what = f"{name}, {count}, {'registered' if registered else 'plain'}, rank {comm.rank}"
            try:
                (one if comm.rank == odd else many)(comm, maker(comm, registered), count)
                wrong.append(f"{what}: no error")
            except UsageError as error:
                words = [w.format(n=count, m=count + 1, odd=odd) for w in (theirs, its, "rank {odd}")]
                wrong += [f"{what}: no {w!r} in {error}" for w in words if w not in str(error)]
                if error.rank != comm.rank:
                    wrong.append(f"{what}: says it is rank {error.rank}")
            except HalError as error:
                return [*wrong, f"{what}: {type(error).__name__} {error}"]
            x = np.full(count, comm.rank, np.int64)
            if not (comm.all_reduce(x) == comm.size * (comm.size - 1) // 2).all():
                wrong.append(f"{what}: the all_reduce after it is wrong")
    return wrong


@pytest.mark.parametrize("name", PAIRS)
def test_every_rank_is_told(name: str) -> None:
    wrong = []
    for size in SIZES:
        for count in (SMALL, LARGE):
            for rank in run_local(size, disagree, [name], count, 1, timeout=10):
                wrong += rank
            if wrong:
                break
    assert not wrong, "\n" + "\n".join(wrong[:6])


@pytest.mark.parametrize("size", SIZES)
def test_agreement_and_disagreement_by_turns(size: int) -> None:
    chance = random.Random(size)
    names = [n for n in PAIRS if not n.startswith("out of")]
    wrong = []
    rounds = [(chance.choice(names), chance.choice([1, SMALL, 5000, LARGE])) for _ in range(20)]

    def body(comm: Communicator) -> list[str]:
        found = []
        for name, count in rounds:
            found += disagree(comm, [name], max(count, 2), 1)
        return found

    for rank in run_local(size, body, timeout=10):
        wrong += rank
    assert not wrong, "\n" + "\n".join(wrong[:6])


def test_ranks_that_all_call_something_else() -> None:
    def body(comm: Communicator) -> str:
        with pytest.raises(UsageError) as caught:
            comm.all_reduce(np.zeros(comm.rank + 1))
        return str(caught.value)

    for text in run_local(4, body, timeout=10):
        for rank in range(4):
            assert f"rank {rank}: all_reduce({rank + 1} elements of float64, op sum)" in text


def test_messages_of_another_length_or_type() -> None:
    def body(comm: Communicator) -> list[str]:
        texts = []
        for mine, yours in [((3, F4), (4, F4)), ((70_000, F4), (70_001, F4)), ((3, F4), (3, I4))]:
            with pytest.raises(UsageError) as caught:
                comm.send(np.ones(*mine), 1) if comm.rank == 0 else comm.recv(np.ones(*yours), 0)
            texts.append(str(caught.value))
            x = np.full(2, comm.rank + 5)
            comm.send(x, 1) if comm.rank == 0 else comm.recv(x, 0)
            assert (x == 5).all()
        return texts

    for texts in run_local(2, body, timeout=10):
        assert "3 elements of float32" in texts[0]
        assert "4 elements of float32" in texts[0]
        assert "int32" in texts[2]
