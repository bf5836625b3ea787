"""Making the call of a case on one rank, between guards that show bytes written outside, and judging the result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal_collectives import Communicator

from .cases import Case
from .oracle import Job, difference

Array = NDArray[Any]
Judge = Callable[[Array, Array, Job, int], "str | None"]
"""Of what a rank got, what it should have, the job and the rank: None, or what is wrong."""

GUARD = 192
FILL = 0xA5


class Guarded:
    """An array of `count` elements with guard bytes at both sides, its address a multiple of no more than its type."""

    def __init__(self, comm: Communicator, count: int, dtype: np.dtype[Any], registered: bool) -> None:
        nbytes = count * dtype.itemsize + 2 * GUARD + 8
        self.raw = comm.empty(nbytes, np.uint8) if registered else np.empty(nbytes, np.uint8)
        self.raw[:] = FILL
        # 8 bytes past a line, so that vector code meets unaligned ends
        self.array = self.raw[GUARD + 8 : GUARD + 8 + count * dtype.itemsize].view(dtype)

    def intact(self) -> bool:
        end = GUARD + 8 + self.array.nbytes
        return bool((self.raw[: GUARD + 8] == FILL).all() and (self.raw[end:] == FILL).all())


class Jobs:
    """The jobs of a list of cases, each made once for all ranks."""

    def __init__(self, cases: Sequence[Case], size: int, seed: int, *, special: bool = True) -> None:
        self.cases, self.size, self.seed, self.special = cases, size, seed, special
        self._lock = threading.Lock()
        self._made: dict[int, tuple[Job, int]] = {}

    def take(self, number: int) -> Job:
        """The job of a case; forgotten when all ranks have taken it."""
        with self._lock:
            job, taken = self._made.get(number) or (
                Job(self.cases[number], self.size, self.seed + number, special=self.special),
                0,
            )
            if taken + 1 == self.size:
                self._made.pop(number, None)
            else:
                self._made[number] = (job, taken + 1)
        return job


def bitwise(got: Array, wanted: Array, job: Job, rank: int) -> str | None:
    """Judges a result by its bits."""
    return difference(got, wanted, job.case.dtype)


def run_all(comm: Communicator, jobs: Jobs, judge: Judge = bitwise, *, only: int | None = None) -> list[str]:
    """Run all cases in a row, or one of them; what was wrong, with all that is needed to run the case again."""
    wrong = []
    for number in range(len(jobs.cases)) if only is None else [only]:
        problem = run_case(comm, jobs.take(number), judge)
        if problem is not None:
            wrong.append(f"rank {comm.rank} of {comm.size}, {jobs.cases[number]}, seed {jobs.seed + number}: {problem}")
    return wrong


def run_case(comm: Communicator, job: Job, judge: Judge = bitwise) -> str | None:
    """Make this rank's call; None, or what is wrong with what it did."""
    case, rank, dtype = job.case, comm.rank, job.case.dtype.numpy
    registered = case.memory == "registered" or (case.memory == "mixed" and rank % 2 == 1)
    given = job.inputs[rank]
    wanted = job.expected(rank)
    if case.collective == "all_to_all_v" and case.place == "in":
        return _all_to_all_v_in_place(comm, job, registered, judge)
    whole, part, shared = _in_place_operands(comm, job, registered) if case.place == "in" else (None, None, False)
    if shared:
        assert whole is not None
        assert part is not None
        x, out, source, target = *part, whole, whole
    else:
        source = Guarded(comm, given.size, dtype, registered)
        target = Guarded(comm, 0 if wanted is None else wanted.size, dtype, registered)
        x, out = source.array, target.array
        x[:] = given
        if case.place == "in" and not case.collective.startswith(("all_reduce", "reduce", "broadcast")):
            out = target.array
    before = target.raw.copy() if shared else None
    got = _call(comm, job, x, out if wanted is not None else None, shared)
    if not (source.intact() and target.intact()):
        return "bytes outside the arrays were written"
    if wanted is None:
        if got is not None and case.collective != "reduce":
            return f"returned {type(got).__name__} where nothing is to be had"
        return None if np.array_equal(x.view(np.uint8), given.copy().view(np.uint8)) else "x was changed"
    if not isinstance(got, np.ndarray):
        return f"returned {type(got).__name__}"
    problem = judge(got.reshape(-1), wanted, job, rank)
    if problem is not None:
        return problem
    untouched = before is None and not (case.collective == "broadcast" and rank != job.root and case.place == "in")
    if untouched and not np.array_equal(x.view(np.uint8), given.copy().view(np.uint8)):
        return "x was changed"
    if case.place != "new" and got.size and not np.shares_memory(got, out):
        return "the result is not in `out`"
    return None


def _in_place_operands(
    comm: Communicator, job: Job, registered: bool
) -> tuple[Guarded | None, tuple[Array, Array] | None, bool]:
    """The memory that x and out share, and both of them; nothing where this rank has no in-place form."""
    case, rank, given = job.case, comm.rank, job.inputs[comm.rank]
    wanted = job.expected(rank)
    row = job.counts[0]
    mine = slice(sum(row[:rank]), sum(row[: rank + 1]))
    dtype = case.dtype.numpy
    if wanted is None:
        return None, None, False
    match case.collective.removesuffix("_v"):
        case "all_reduce" | "reduce" | "broadcast" | "all_to_all":
            whole = Guarded(comm, given.size, dtype, registered)
            whole.array[:] = given
            return whole, (whole.array, whole.array), True
        case "all_gather" | "gather":
            whole = Guarded(comm, wanted.size, dtype, registered)
            whole.array[mine] = given
            return whole, (whole.array[mine], whole.array), True
        case "reduce_scatter" | "scatter" if case.collective.startswith("reduce") or rank == job.root:
            whole = Guarded(comm, given.size, dtype, registered)
            whole.array[:] = given
            return whole, (whole.array, whole.array[mine]), True
    return None, None, False


def _all_to_all_v_in_place(comm: Communicator, job: Job, registered: bool, judge: Judge) -> str | None:
    """Here x and out begin at the same place and differ in length."""
    given, wanted = job.inputs[comm.rank], job.expected(comm.rank)
    assert wanted is not None
    both = Guarded(comm, max(given.size, wanted.size), job.case.dtype.numpy, registered)
    x, out = both.array[: given.size], both.array[: wanted.size]
    x[:] = given
    got = comm.all_to_all_v(x, job.counts[comm.rank], out)
    return judge(got, wanted, job, comm.rank) if both.intact() else "bytes outside the arrays were written"


def _call(comm: Communicator, job: Job, x: Array, out: Array | None, shared: bool) -> Any:
    case, rank, root, op, row = job.case, comm.rank, job.root, job.case.op.label, job.counts[0]
    if case.place == "new":
        out = None
    match case.collective:
        case "all_reduce":
            return comm.all_reduce(x, None if shared else out, op)
        case "reduce":
            result = comm.reduce(x, None if shared else out, op, root)
            return result if rank == root else None
        case "broadcast":
            return comm.broadcast(x, None if shared else out, root)
        case "all_gather":
            return comm.all_gather(x, out)
        case "reduce_scatter":
            return comm.reduce_scatter(x, out, op)
        case "all_to_all":
            return comm.all_to_all(x, out)
        case "gather":
            return comm.gather(x, out, root)
        case "scatter":
            return comm.scatter(x if rank == root else None, _needed(case, rank, root, job, out), root)
        case "all_gather_v":
            return comm.all_gather_v(x, out, row if case.count % 2 else None)
        case "reduce_scatter_v":
            return comm.reduce_scatter_v(x, row, out, op)
        case "gather_v":
            return comm.gather_v(x, out, row if case.count % 2 else None, root)
        case "scatter_v":
            given = row if rank == root or case.count % 2 else None
            return comm.scatter_v(x if rank == root else None, given, _needed(case, rank, root, job, out), root)
        case "all_to_all_v":
            received = [counts[rank] for counts in job.counts]
            return comm.all_to_all_v(x, job.counts[rank], out, received if case.count % 2 else None)
        case "send_recv":
            return _pass_on(comm, x, out)
    raise AssertionError(case.collective)


def _needed(case: Case, rank: int, root: int, job: Job, out: Array | None) -> Array | None:
    """The output of a scatter, which ranks other than the root must give."""
    if out is not None or rank == root:
        return out
    return np.empty(job.counts[0][rank], case.dtype.numpy)


def _pass_on(comm: Communicator, x: Array, out: Array | None) -> Any:
    """Send x to the next rank and receive the previous one's."""
    after, before = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    if comm.rank == 0:
        comm.send(x, after)
        return comm.recv(out, before)
    got = comm.recv(out, before)
    comm.send(x, after)
    return got


def shown(problems: Iterable[list[str]], limit: int = 5) -> str:
    """The first problems of all ranks, one a line; empty where there are none."""
    every = [text for rank in problems for text in rank]
    more = [f"… and {len(every) - limit} more"] if len(every) > limit else []
    return "\n".join(every[:limit] + more)
