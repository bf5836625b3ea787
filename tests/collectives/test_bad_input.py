"""Arguments that cannot be used: one clear error that names operation and rank, nothing changed, nothing lost.

The ranks other than the one that errs do not make the bad call; afterwards all go on together.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from hal.interface.errors import UsageError
from hal_collectives import Communicator, run_local

Array = NDArray[Any]
Call = Callable[[Communicator, Array], Any]
"""A bad call, given a float32 array of 6 ones to do it with."""

SIZE = 3


def frozen(x: Array) -> Array:
    view = x.view()
    view.flags.writeable = False
    return view


def f4(count: int) -> Array:
    return np.zeros(count, np.float32)


ARRAYS: dict[str, tuple[Callable[[Array], Any], str]] = {
    "not contiguous": (lambda x: x[::2], "contiguous"),
    "Fortran order": (lambda x: np.asfortranarray(np.ones((2, 3), np.float32)), "contiguous"),
    "backwards": (lambda x: x[::-1], "contiguous"),
    "bool": (lambda x: np.ones(6, np.bool_), "bool"),
    "complex": (lambda x: np.ones(6, np.complex64), "complex64"),
    "object": (lambda x: np.array([None] * 6), "object"),
    "text": (lambda x: np.array(["a"] * 6), "U1"),
    "dates": (lambda x: np.zeros(6, "M8[s]"), "datetime64"),
    "records": (lambda x: np.zeros(6, [("a", "f4")]), "a"),
    "big-endian": (lambda x: np.ones(6, ">f4"), "byte order"),
    "longdouble": (lambda x: np.ones(6, np.longdouble), "longdouble|float128"),
    "another 8-bit float": (lambda x: np.ones(6, ml_dtypes.float8_e4m3b11fnuz), "float8_e4m3b11fnuz"),
    "list": (lambda x: [1.0] * 6, "list"),
    "number": (lambda x: 1.0, "float"),
    "nothing": (lambda x: None, "None"),
    "text object": (lambda x: "abcdef", "str"),
}

OPERATIONS: dict[str, Call] = {
    "all_reduce": lambda c, x: c.all_reduce(x),
    "reduce": lambda c, x: c.reduce(x, root=1),
    "broadcast": lambda c, x: c.broadcast(x, root=1),
    "all_gather": lambda c, x: c.all_gather(x),
    "reduce_scatter": lambda c, x: c.reduce_scatter(x),
    "all_to_all": lambda c, x: c.all_to_all(x),
    "gather": lambda c, x: c.gather(x, root=1),
    "scatter": lambda c, x: c.scatter(x, root=1),
    "all_gather_v": lambda c, x: c.all_gather_v(x),
    "reduce_scatter_v": lambda c, x: c.reduce_scatter_v(x, [2, 2, 2]),
    "gather_v": lambda c, x: c.gather_v(x, root=1),
    "scatter_v": lambda c, x: c.scatter_v(x, [2, 2, 2], root=1),
    "all_to_all_v": lambda c, x: c.all_to_all_v(x, [2, 2, 2]),
    "send": lambda c, x: c.send(x, 0),
    "recv": lambda c, x: c.recv(x, 0),
}

# name, the operation that the message names, the call, what the message says
CALLS: list[tuple[str, str, Call, str]] = [
    ("read-only result", "all_reduce", lambda c, x: c.all_reduce(frozen(x)), "read-only"),
    ("read-only out", "all_reduce", lambda c, x: c.all_reduce(x, frozen(f4(6))), "read-only"),
    ("read-only out", "all_gather", lambda c, x: c.all_gather(x, frozen(f4(18))), "read-only"),
    ("read-only out", "recv", lambda c, x: c.recv(frozen(x), 0), "read-only"),
    ("read-only out", "scatter", lambda c, x: c.scatter(None, frozen(x), 0), "read-only"),
    ("out of another type", "all_reduce", lambda c, x: c.all_reduce(x, np.zeros(6)), "float64.*float32"),
    ("out of another type", "all_gather", lambda c, x: c.all_gather(x, np.zeros(18, np.int32)), "int32.*float32"),
    ("out too short", "all_reduce", lambda c, x: c.all_reduce(x, f4(5)), "5 elements.*6"),
    ("out too short", "all_gather", lambda c, x: c.all_gather(x, f4(6)), "6 elements.*18"),
    ("out too long", "reduce_scatter", lambda c, x: c.reduce_scatter(x, f4(3)), "3 elements.*2"),
    ("out too long", "all_to_all", lambda c, x: c.all_to_all(x, f4(7)), "7 elements.*6"),
    ("out too short", "gather", lambda c, x: c.gather(x, f4(17), root=1), "17 elements.*18"),
    ("out too short", "scatter", lambda c, x: c.scatter(x, f4(1), root=1), "1 elements.*2"),
    ("out too short", "reduce", lambda c, x: c.reduce(x, f4(1), root=1), "1 elements.*6"),
    ("out too short", "broadcast", lambda c, x: c.broadcast(x, f4(1), root=1), "1 elements.*6"),
    ("no equal blocks", "reduce_scatter", lambda c, x: c.reduce_scatter(x[:5]), "5 elements.*3 equal"),
    ("no equal blocks", "all_to_all", lambda c, x: c.all_to_all(x[:4]), "4 elements.*3 equal"),
    ("no equal blocks", "scatter", lambda c, x: c.scatter(x[:4], root=1), "4 elements.*3 equal"),
    ("overlap", "all_reduce", lambda c, x: c.all_reduce(x[:4], x[1:5]), "share memory"),
    ("overlap", "all_gather", lambda c, x: c.all_gather(x[:2], x), "share memory"),
    ("overlap", "reduce_scatter", lambda c, x: c.reduce_scatter(x, x[1:3]), "share memory"),
    ("overlap", "gather", lambda c, x: c.gather(x[4:6], x, root=1), "share memory"),
    ("overlap", "scatter", lambda c, x: c.scatter(x, x[3:5], root=1), "share memory"),
    ("overlap", "broadcast", lambda c, x: c.broadcast(x[:4], x[1:5], root=1), "share memory"),
    ("overlap", "reduce", lambda c, x: c.reduce(x[:4], x[1:5], root=1), "share memory"),
    ("overlap", "all_to_all", lambda c, x: c.all_to_all(x[:3], x[1:4]), "share memory"),
    *[
        (f"root {root!r}", name, call, "root")
        for root in (-1, 3, 1.0, True, "1", None, [1], 2**70)
        for name, call in (
            ("broadcast", lambda c, x, root=root: c.broadcast(x, root=root)),
            ("reduce", lambda c, x, root=root: c.reduce(x, root=root)),
            ("gather", lambda c, x, root=root: c.gather(x, root=root)),
            ("scatter", lambda c, x, root=root: c.scatter(x, f4(2), root=root)),
            ("gather_v", lambda c, x, root=root: c.gather_v(x, root=root)),
            ("scatter_v", lambda c, x, root=root: c.scatter_v(x, [2, 2, 2], f4(2), root=root)),
        )
    ],
    *[
        (f"peer {peer!r}", name, call, f"{word} is")
        for peer in (-1, 3, 1, 0.0, False, "0", None)
        for name, word, call in (
            ("send", "dst", lambda c, x, peer=peer: c.send(x, peer)),
            ("recv", "src", lambda c, x, peer=peer: c.recv(x, peer)),
        )
    ],
    *[
        (f"op {op!r}", name, call, "unknown reduction")
        for op in ("summ", None, 0, "", np.add, ["sum"])
        for name, call in (
            ("all_reduce", lambda c, x, op=op: c.all_reduce(x, op=op)),
            ("reduce", lambda c, x, op=op: c.reduce(x, op=op, root=1)),
            ("reduce_scatter", lambda c, x, op=op: c.reduce_scatter(x, op=op)),
            ("reduce_scatter_v", lambda c, x, op=op: c.reduce_scatter_v(x, [2, 2, 2], op=op)),
        )
    ],
    *[
        (f"{op} of floats", name, call, f"{op}.*integers.*float32")
        for op in ("band", "bor", "bxor")
        for name, call in (
            ("all_reduce", lambda c, x, op=op: c.all_reduce(x, op=op)),
            ("reduce_scatter_v", lambda c, x, op=op: c.reduce_scatter_v(x, [2, 2, 2], op=op)),
        )
    ],
    *[
        (f"timeout {timeout!r}", name, call, "timeout")
        for timeout in (0, -1, float("nan"), "5", 0.0)
        for name, call in (
            ("all_reduce", lambda c, x, timeout=timeout: c.all_reduce(x, timeout=timeout)),
            ("barrier", lambda c, x, timeout=timeout: c.barrier(timeout=timeout)),
            ("send", lambda c, x, timeout=timeout: c.send(x, 0, timeout=timeout)),
            ("all_gather", lambda c, x, timeout=timeout: c.all_gather(x, async_op=True, timeout=timeout)),
            ("all_gather_v", lambda c, x, timeout=timeout: c.all_gather_v(x, timeout=timeout)),
        )
    ],
    *[
        (f"counts {counts!r}", name, call, "counts")
        for counts in ([2, 2], [2, 2, 3, -1], [-1, 3, 4], 6, "abc", [2, 2, None], [2.5, 2, 1.5], [[2], [2], [2, 2]])
        for name, call in (
            ("all_gather_v", lambda c, x, counts=counts: c.all_gather_v(x, counts=counts)),
            ("reduce_scatter_v", lambda c, x, counts=counts: c.reduce_scatter_v(x, counts)),
            ("gather_v", lambda c, x, counts=counts: c.gather_v(x, counts=counts, root=1)),
            ("scatter_v", lambda c, x, counts=counts: c.scatter_v(x, counts, root=1)),
            ("all_to_all_v", lambda c, x, counts=counts: c.all_to_all_v(x, counts)),
            ("all_to_all_v", lambda c, x, counts=counts: c.all_to_all_v(x, [2, 2, 2], recv_counts=counts)),
        )
    ],
    ("counts missing", "reduce_scatter_v", lambda c, x: c.reduce_scatter_v(x, None), "counts"),
    ("counts missing", "scatter_v", lambda c, x: c.scatter_v(x, root=1), "counts"),
    ("counts missing", "all_to_all_v", lambda c, x: c.all_to_all_v(x, None), "send_counts"),
    ("x and counts differ", "reduce_scatter_v", lambda c, x: c.reduce_scatter_v(x, [2, 2, 3]), "6 elements.*7"),
    ("x and counts differ", "scatter_v", lambda c, x: c.scatter_v(x, [2, 2, 3], root=1), "6 elements.*7"),
    ("x and counts differ", "all_to_all_v", lambda c, x: c.all_to_all_v(x, [2, 2, 1]), "6 elements.*5"),
    ("own count differs", "all_gather_v", lambda c, x: c.all_gather_v(x, counts=[6, 5, 6]), "6 elements.*5"),
    ("out of another type", "all_gather_v", lambda c, x: c.all_gather_v(x, np.zeros(18)), "float64.*float32"),
    ("out of another type", "scatter_v", lambda c, x: c.scatter_v(x, [2, 2, 2], np.zeros(2), 1), "float64.*float32"),
    ("out too long", "reduce_scatter_v", lambda c, x: c.reduce_scatter_v(x, [2, 2, 2], f4(3)), "3 elements.*2"),
    ("out too long", "scatter_v", lambda c, x: c.scatter_v(x, [2, 2, 2], f4(3), 1), "3 elements.*2"),
    ("no out", "scatter", lambda c, x: c.scatter(None, None, 0), "out"),
    ("no out", "scatter_v", lambda c, x: c.scatter_v(None, None, None, 0), "out"),
]


def provoke(comm: Communicator, bad: list[tuple[str, str, Call, str]]) -> list[str]:
    """Rank 1 makes the bad calls; after each, all ranks make a good one. What was not as it should be."""
    wrong = []
    for name, operation, call, text in bad:
        if comm.rank == 1:
            wrong += [f"{operation} with {name}: {problem}" for problem in _one(comm, operation, call, text)]
        y = np.full(5, comm.rank + 1, np.int32)
        comm.all_reduce(y)
        if not (y == 6).all():
            wrong.append(f"after {operation} with {name}: all_reduce gives {y}")
    return wrong


def _one(comm: Communicator, operation: str, call: Call, text: str) -> list[str]:
    x = np.ones(6, np.float32)
    try:
        result = call(comm, x)
    except UsageError as error:
        problems = []
        if error.rank != 1 or error.operation != operation:
            problems.append(f"names rank {error.rank} and operation {error.operation}: {error}")
        if not re.search(text, str(error), re.DOTALL):
            problems.append(f"does not say {text!r}: {error}")
        if not (x == 1).all():
            problems.append("x was changed")
        return problems
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    return [f"no error, result {result!r}"]


def check(bad: list[tuple[str, str, Call, str]]) -> None:
    wrong = run_local(SIZE, provoke, bad, timeout=5)[1]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_arrays(operation: str) -> None:
    call = OPERATIONS[operation]
    check([(name, operation, lambda c, x, make=make: call(c, make(x)), text) for name, (make, text) in ARRAYS.items()])


@pytest.mark.parametrize("operation", sorted({operation for _, operation, _, _ in CALLS}))
def test_arguments(operation: str) -> None:
    check([bad for bad in CALLS if bad[1] == operation])
