"""The variable-count forms: ranks first tell each other their counts, then run a plan laid out for them.

Every form begins with one small all_gather of `size + 2` integers from each rank: what the rank was told of the
counts (-1 where nothing), and what its buffers hold. All ranks then judge the same table, so that a contradiction
raises the same `UsageError` everywhere before anything is moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError
from hal.plan.collective import Collective
from hal.plan.layout import Extent, Layout
from hal.plan.model import Plan
from hal_collectives.buffers import Buffer, as_buffer

if TYPE_CHECKING:
    from hal_collectives.communicator import Communicator

UNKNOWN = -1
Extents = tuple[tuple[Extent, ...], ...]


def all_gather(comm: Communicator, x: Any, out: Any, counts: Any, async_op: bool, timeout: float | None) -> Any:
    """See `Communicator.all_gather_v`."""
    call = _Call(comm, Collective.ALL_GATHER_V, timeout)
    src, given = call.buffer(x, "x"), call.counts(counts, "counts")
    told = call.exchange(given, src.count, UNKNOWN)
    have = [int(n) for n in told[:, -2]]
    for rank in range(comm.size):
        call.agree(rank, "counts", told[rank, :-2], have)
    dst = call.output(out, src.dtype, sum(have))
    call.no_overlap(src, dst, sum(have[: comm.rank]))
    inputs = tuple(((0, n),) for n in have)
    return call.run(src, dst, inputs, (_offsets(have),) * comm.size, async_op)


def reduce_scatter(
    comm: Communicator, x: Any, counts: Any, out: Any, op: str, async_op: bool, timeout: float | None
) -> Any:
    """See `Communicator.reduce_scatter_v`."""
    call = _Call(comm, Collective.REDUCE_SCATTER_V, timeout, op)
    src, given = call.buffer(x, "x"), call.counts(counts, "counts", needed=True)
    told = call.exchange(given, src.count, UNKNOWN)
    blocks = [int(n) for n in told[0, :-2]]
    for rank in range(comm.size):
        call.agree(rank, "counts", told[rank, :-2], blocks, other=0)
        call.holds(rank, "x", int(told[rank, -2]), sum(blocks))
    dst = call.output(out, src.dtype, blocks[comm.rank])
    call.no_overlap(dst, src, sum(blocks[: comm.rank]))
    outputs = tuple(((0, n),) for n in blocks)
    return call.run(src, dst, (_offsets(blocks),) * comm.size, outputs, async_op)


def gather(comm: Communicator, x: Any, out: Any, counts: Any, root: int, async_op: bool, timeout: float | None) -> Any:
    """See `Communicator.gather_v`."""
    call = _Call(comm, Collective.GATHER_V, timeout, root=root)
    src, given = call.buffer(x, "x"), call.counts(counts, "counts")
    told = call.exchange(given, src.count, UNKNOWN)
    have = [int(n) for n in told[:, -2]]
    for rank in range(comm.size):
        call.agree(rank, "counts", told[rank, :-2], have)
    dst = None
    if comm.rank == root:
        dst = call.output(out, src.dtype, sum(have))
        call.no_overlap(src, dst, sum(have[:root]))
    outputs = tuple(_offsets(have) if rank == root else () for rank in range(comm.size))
    return call.run(src, dst, tuple(((0, n),) for n in have), outputs, async_op)


def scatter(comm: Communicator, x: Any, counts: Any, out: Any, root: int, async_op: bool, timeout: float | None) -> Any:
    """See `Communicator.scatter_v`."""
    call = _Call(comm, Collective.SCATTER_V, timeout, root=root)
    at_root = comm.rank == root
    src = call.buffer(x, "x") if at_root else None
    given = call.counts(counts, "counts", needed=at_root)
    dst = None if out is None else call.buffer(out, "out", writable=True)
    if src is None and dst is None:
        raise call.error("out is needed on every rank but the root: its dtype is that of the message")
    told = call.exchange(given, src.count if src else UNKNOWN, dst.count if dst else UNKNOWN)
    blocks = [int(n) for n in told[root, :-2]]
    call.holds(root, "x", int(told[root, -2]), sum(blocks))
    for rank in range(comm.size):
        call.agree(rank, "counts", told[rank, :-2], blocks, other=root)
        if told[rank, -1] != UNKNOWN:
            call.holds(rank, "out", int(told[rank, -1]), blocks[rank])
    if dst is None:
        assert src is not None
        dst = call.output(None, src.dtype, blocks[root])
    if src is not None:
        call.output(dst.array, src.dtype, blocks[root])
        call.no_overlap(dst, src, sum(blocks[:root]))
    inputs = tuple(_offsets(blocks) if rank == root else () for rank in range(comm.size))
    return call.run(src, dst, inputs, tuple(((0, n),) for n in blocks), async_op)


def all_to_all(
    comm: Communicator,
    x: Any,
    send_counts: Any,
    out: Any,
    recv_counts: Any,
    async_op: bool,
    timeout: float | None,
) -> Any:
    """See `Communicator.all_to_all_v`."""
    call = _Call(comm, Collective.ALL_TO_ALL_V, timeout)
    src = call.buffer(x, "x")
    given = call.counts(send_counts, "send_counts", needed=True)
    expected = call.counts(recv_counts, "recv_counts")
    told = call.exchange(given, src.count, UNKNOWN)
    matrix = [[int(n) for n in row[:-2]] for row in told]
    for rank in range(comm.size):
        call.holds(rank, "x", int(told[rank, -2]), sum(matrix[rank]))
    if recv_counts is not None:
        call.agree(comm.rank, "recv_counts", np.asarray(expected), [row[comm.rank] for row in matrix])
    dst = call.output(out, src.dtype, sum(row[comm.rank] for row in matrix))
    if src.address == dst.address:
        src = as_buffer(src.array.copy(), "x", writable=False)
    call.no_overlap(src, dst, None)
    inputs = tuple(_offsets(row) for row in matrix)
    outputs = tuple(_offsets([row[rank] for row in matrix]) for rank in range(comm.size))
    return call.run(src, dst, inputs, outputs, async_op)


class _Call:
    """One variable-count call of one rank."""

    def __init__(
        self,
        comm: Communicator,
        collective: Collective,
        timeout: float | None,
        op: str = "sum",
        root: int | None = None,
    ) -> None:
        self.comm, self.collective, self.timeout, self.root = comm, collective, timeout, root
        self.op = ReduceOp.of(op)
        comm._check_open(collective.label)
        if root is not None:
            comm._check_root(collective.label, root)

    def error(self, text: str) -> UsageError:
        return UsageError(text, rank=self.comm.rank, operation=self.collective.label)

    def buffer(self, x: Any, what: str, *, writable: bool = False) -> Buffer:
        buffer = self.comm._buffer(self.collective.label, x, what, writable=writable)
        self.op.check(buffer.dtype)
        return buffer

    def counts(self, counts: Any, what: str, *, needed: bool = False) -> list[int]:
        """The counts as given, or as many times UNKNOWN."""
        size = self.comm.size
        if counts is None:
            if needed:
                raise self.error(f"{what} is needed: one count a rank")
            return [UNKNOWN] * size
        try:
            values = [int(n) for n in counts]
        except (TypeError, ValueError):
            raise self.error(f"{what} is {counts!r}: {size} integers are needed, one a rank") from None
        if len(values) != size or min(values) < 0:
            raise self.error(f"{what} is {values}: {size} counts of 0 or more are needed, one a rank")
        return values

    def exchange(self, counts: Sequence[int], first: int, second: int) -> np.ndarray[Any, Any]:
        """Tell all ranks; what rank r told is row r. Compared among the ranks as a call of this collective."""
        comm = self.comm
        mine = as_buffer(np.array([*counts, first, second], np.int64), "counts", writable=False)
        told = np.empty((comm.size, mine.count), np.int64)
        comm._call(
            Collective.ALL_GATHER,
            mine,
            as_buffer(told, "counts", writable=True),
            mine.count,
            "sum",
            None,
            False,
            self.timeout,
        )
        return told

    def agree(self, rank: int, what: str, told: Any, actual: list[int], other: int | None = None) -> None:
        """Whether what `rank` was told of the counts is so."""
        if any(n != UNKNOWN for n in told) and list(told) != actual:
            source = "the ranks have" if other is None else f"rank {other} says"
            raise self.error(f"rank {rank} was given {what} {[int(n) for n in told]}, {source} {actual}")

    def holds(self, rank: int, what: str, count: int, needed: int) -> None:
        if count != needed:
            raise self.error(f"{what} of rank {rank} has {count} elements, the counts need {needed}")

    def output(self, out: Any, dtype: DType, count: int) -> Buffer:
        if out is None:
            return as_buffer(np.empty(count, dtype.numpy), "out", writable=True)
        dst = self.buffer(out, "out", writable=True)
        if dst.dtype is not dtype:
            raise self.error(f"out has dtype {dst.dtype.label}, x has {dtype.label}: they must be the same")
        if dst.count != count:
            raise self.error(f"out has {dst.count} elements, the counts need {count}")
        return dst

    def no_overlap(self, part: Buffer, whole: Buffer, allowed: int | None) -> None:
        place = None if allowed is None else whole.address + allowed * whole.dtype.itemsize
        self.comm._check_overlap(self.collective.label, part, whole, place)

    def run(self, src: Buffer | None, dst: Buffer | None, inputs: Extents, outputs: Extents, async_op: bool) -> Any:
        comm = self.comm
        dtype = next(b.dtype for b in (src, dst) if b is not None)
        key = np.array([n for side in (inputs, outputs) for rank in side for _, n in rank], np.int64).tobytes()
        count = max(sum(n for _, n in rank) for side in (inputs, outputs) for rank in side)
        layout: Callable[[Plan], Layout] = lambda plan: Layout.explicit(plan, inputs, outputs, dtype.itemsize)  # noqa: E731
        executable = comm._calls.get_variable(self.collective, key, count, dtype, self.op, self.root, layout)
        return comm._launch(comm._queue, executable, self.collective.label, src, dst, async_op, self.timeout)


def _offsets(counts: Sequence[int]) -> tuple[Extent, ...]:
    """Adjoining blocks of these lengths."""
    result, at = [], 0
    for n in counts:
        result.append((at, n))
        at += n
    return tuple(result)
