"""Calls that are made again and again, while others fail."""

from __future__ import annotations

import time
from collections.abc import Callable

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import HalError, WorldError
from hal.plan.collective import Collective
from hal.runtime.group import Group
from hal_conformance import data, expect, programs
from hal_conformance.expect import Mismatch
from hal_conformance.rank import Rank

LONG = 25.0
"""Seconds; a deadline that is not meant to pass."""


def caller(rank: Rank, kind: str, of: Group | None = None) -> Callable[[float], None]:
    """What makes a call of this kind, with a timeout, again and again."""
    where = of or rank.group
    if kind == "barrier":
        executable = rank.load(programs.barrier_plan(where.size), 0, group=where)
        return lambda timeout: rank.start(executable, None, None, timeout)
    count = 1000
    plan = programs.collective_plan(Collective.ALL_REDUCE, kind, where.size)
    executable = rank.load(plan, count, DType.INT32, group=where)
    source, target = rank.allocate(4 * count), rank.allocate(4 * count)
    return lambda timeout: rank.start(executable, source, target, timeout)


def works(rank: Rank, of: Group, what: str) -> None:
    """A collective of this group gives the right result."""
    inputs = data.numbers(rank.random, of.size, 100, DType.INT32)
    plan = programs.collective_plan(Collective.ALL_REDUCE, "scratch", of.size)
    (seen,) = rank.run(plan, inputs, count=100, group=of)
    expect.same_bits(seen, data.reduced(inputs, DType.INT32, ReduceOp.SUM), what)


def refuses(call: Callable[[float], None], what: str) -> None:
    """A call of a group that has failed raises at once, again and again."""
    for _ in range(3):
        began = time.monotonic()
        expect.raises(WorldError, lambda: call(LONG), what)
        expect.at_most(time.monotonic() - began, LONG / 2, f"seconds that it took: {what}")


def until_it_fails(call: Callable[[float], None], timeout: float = LONG) -> HalError:
    """Call again and again; the error that ends it."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        try:
            call(timeout)
        except HalError as error:
            return error
    raise Mismatch("calls after a failure of another rank", "they go on", "an error")
