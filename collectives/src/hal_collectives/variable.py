"""The variable-count forms: ranks first tell each other their counts, then run a plan laid out for them.

What a rank can see for itself is wrong it raises before anything is launched. Then comes one small all_gather, in which
each rank tells the counts it was given and what its buffers hold. All ranks judge the same table, so that a
contradiction raises a `UsageError` on every rank before any data is moved. The executor compares collective, type,
operation and root of this exchange as it does of any call.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hal.interface.dtypes import DType
from hal.interface.errors import UsageError
from hal.plan.collective import Collective
from hal.plan.layout import Extent, Layout
from hal.plan.model import Plan
from hal_collectives.buffers import OVERLAP, Buffer, overlap
from hal_collectives.caller import Caller

UNKNOWN = -1
Extents = tuple[tuple[Extent, ...], ...]


def all_gather(comm: Caller, x: Any, out: Any, counts: Any, async_op: bool, timeout: float | None) -> Any:
    """See `Communicator.all_gather_v`."""
    call = _Call(comm, Collective.ALL_GATHER_V, timeout)
    src, dst, have = _gathered(call, x, out, counts, holder=True)
    dst = dst or call.new(src.dtype, sum(have))
    inputs = tuple(((0, n),) for n in have)
    return call.run(src, dst, inputs, (_offsets(have),) * comm.size, async_op)


def gather(comm: Caller, x: Any, out: Any, counts: Any, root: int, async_op: bool, timeout: float | None) -> Any:
    """See `Communicator.gather_v`."""
    call = _Call(comm, Collective.GATHER_V, timeout, root=root)
    src, dst, have = _gathered(call, x, out, counts, holder=comm.rank == root)
    if comm.rank == root:
        dst = dst or call.new(src.dtype, sum(have))
    outputs = tuple(_offsets(have) if rank == root else () for rank in range(comm.size))
    return call.run(src, dst, tuple(((0, n),) for n in have), outputs, async_op)


def _gathered(call: _Call, x: Any, out: Any, counts: Any, *, holder: bool) -> tuple[Buffer, Buffer | None, list[int]]:
    """Buffers and counts of a gather. `holder`: whether this rank gets the result, so that `out` means something."""
    comm, src, given = call.comm, call.buffer(x, "x"), call.counts(counts, "counts")
    dst = call.output(out, src.dtype) if holder else None
    if counts is not None:
        call.holds("x", src.count, given[comm.rank])
        if dst is not None:
            call.holds("out", dst.count, sum(given))
            call.no_overlap(src, dst, sum(given[: comm.rank]))
    told = call.exchange(src.dtype, given, x=src, out=dst, place=call.place(src, dst))
    have = [row.x for row in told]
    for rank, row in enumerate(told):
        call.agree(rank, "counts", row.counts, have, "for rank {k}, which has {n}")
        if row.out != UNKNOWN:
            call.holds("out", row.out, sum(have), rank)
            if row.place not in (UNKNOWN, sum(have[:rank]) * src.dtype.itemsize):
                raise call.error(f"x and out of rank {rank} {OVERLAP}")
    return src, dst, have


def reduce_scatter(comm: Caller, x: Any, counts: Any, out: Any, op: str, async_op: bool, timeout: float | None) -> Any:
    """See `Communicator.reduce_scatter_v`."""
    call = _Call(comm, Collective.REDUCE_SCATTER_V, timeout, op)
    src, blocks = call.buffer(x, "x"), call.counts(counts, "counts", needed=True)
    call.holds("x", src.count, sum(blocks))
    dst = call.output(out, src.dtype, blocks[comm.rank]) or call.new(src.dtype, blocks[comm.rank])
    call.no_overlap(dst, src, sum(blocks[: comm.rank]))
    told = call.exchange(src.dtype, blocks)
    for rank, row in enumerate(told):
        call.same(rank, row.counts, 0, told[0].counts)
    outputs = tuple(((0, n),) for n in blocks)
    return call.run(src, dst, (_offsets(blocks),) * comm.size, outputs, async_op)


def scatter(comm: Caller, x: Any, counts: Any, out: Any, root: int, async_op: bool, timeout: float | None) -> Any:
    """See `Communicator.scatter_v`."""
    call = _Call(comm, Collective.SCATTER_V, timeout, root=root)
    at_root = comm.rank == root
    given = call.counts(counts, "counts", needed=at_root)
    mine = None if counts is None else given[comm.rank]
    src = None
    if at_root:
        src = call.buffer(x, "x")
        call.holds("x", src.count, sum(given))
        dst = call.output(out, src.dtype, mine) or call.new(src.dtype, given[root])
        call.no_overlap(dst, src, sum(given[:root]))
    else:
        dst = call.buffer(out, "out", writable=True)
        if mine is not None:
            call.holds("out", dst.count, mine)
    told = call.exchange(dst.dtype, given, out=dst)
    blocks = told[root].counts
    for rank, row in enumerate(told):
        if row.counts[0] != UNKNOWN:
            call.same(rank, row.counts, root, blocks)
        call.holds("out", row.out, blocks[rank], rank)
    inputs = tuple(_offsets(blocks) if rank == root else () for rank in range(comm.size))
    return call.run(src, dst, inputs, tuple(((0, n),) for n in blocks), async_op)


def all_to_all(
    comm: Caller,
    x: Any,
    send_counts: Any,
    out: Any,
    recv_counts: Any,
    async_op: bool,
    timeout: float | None,
) -> Any:
    """See `Communicator.all_to_all_v`."""
    call = _Call(comm, Collective.ALL_TO_ALL_V, timeout)
    src, given = call.buffer(x, "x"), call.counts(send_counts, "send_counts", needed=True)
    expected = call.counts(recv_counts, "recv_counts")
    call.holds("x", src.count, sum(given))
    dst = call.output(out, src.dtype, None if recv_counts is None else sum(expected))
    if dst is not None and src.address != dst.address:
        call.no_overlap(src, dst, None)
    told = call.exchange(src.dtype, given, expected, out=dst)
    for rank, row in enumerate(told):
        received = [other.counts[rank] for other in told]
        call.agree(rank, "recv_counts", row.expected, received, "from rank {k}, which sends {n}")
        if row.out != UNKNOWN:
            call.holds("out", row.out, sum(received), rank)
    dst = dst or call.new(src.dtype, sum(row.counts[comm.rank] for row in told))
    if src.address == dst.address:
        src = comm.copied(src, keep=not async_op)
    inputs = tuple(_offsets(row.counts) for row in told)
    outputs = tuple(_offsets([row.counts[rank] for row in told]) for rank in range(comm.size))
    return call.run(src, dst, inputs, outputs, async_op)


@dataclass(frozen=True)
class _Told:
    """What one rank told the others; `UNKNOWN` where it had nothing to tell."""

    counts: list[int]
    expected: list[int]
    x: int
    """Elements of its x and its out."""
    out: int
    place: int
    """Where x begins in out, in bytes, where they share memory."""


class _Call:
    """One variable-count call of one rank."""

    def __init__(
        self,
        comm: Caller,
        collective: Collective,
        timeout: float | None,
        op: str = "sum",
        root: int | None = None,
    ) -> None:
        self.comm, self.collective, self.root = comm, collective, root
        self.arguments = comm.arguments
        self.comm.check_open(collective.label)
        self.timeout = None if timeout is None else self.arguments.seconds(collective.label, timeout)
        self.op = self.arguments.reduction(collective.label, op, DType.UINT8)
        if collective.rooted:
            self.arguments.root(collective.label, root)

    def error(self, text: str) -> UsageError:
        return self.arguments.error(self.collective.label, text)

    # what this rank sees for itself

    def buffer(self, x: Any, what: str, *, writable: bool = False) -> Buffer:
        buffer = self.arguments.buffer(self.collective.label, x, what, writable=writable)
        self.arguments.reduction(self.collective.label, self.op, buffer.dtype)
        return buffer

    def counts(self, counts: Any, what: str, *, needed: bool = False) -> list[int]:
        """The counts as given, or as many times UNKNOWN."""
        size = self.comm.size
        if counts is None:
            if needed:
                raise self.error(f"{what} are needed: {size} of them, one a rank")
            return [UNKNOWN] * size
        try:
            values = [operator.index(n) for n in counts]
        except TypeError:
            raise self.error(f"{what} are {counts!r}: {size} integers are needed, one a rank") from None
        if len(values) != size or not all(0 <= n < 1 << 48 for n in values):
            raise self.error(f"{what} are {values}: {size} counts of 0 or more are needed, one a rank")
        return values

    def output(self, out: Any, dtype: DType, count: int | None = None) -> Buffer | None:
        """The output where it is given, of x's type, and of `count` elements where that is known already."""
        if out is None:
            return None
        dst = self.buffer(out, "out", writable=True)
        return self.arguments.output(self.collective.label, out, dtype, dst.count if count is None else count, ())

    def new(self, dtype: DType, count: int) -> Buffer:
        return self.arguments.output(self.collective.label, None, dtype, count, (count,))

    def no_overlap(self, part: Buffer, whole: Buffer, allowed: int | None) -> None:
        place = None if allowed is None else whole.address + allowed * whole.dtype.itemsize
        self.arguments.overlap(self.collective.label, part, whole, place)

    def place(self, part: Buffer, whole: Buffer | None) -> int:
        """Where `part` begins in `whole`. `part` may begin before it, which no layout allows."""
        if whole is None or not overlap(part, whole):
            return UNKNOWN
        distance = part.address - whole.address
        return distance if distance >= 0 else whole.nbytes

    # what all ranks judge alike

    def exchange(
        self,
        dtype: DType,
        counts: Sequence[int],
        expected: Sequence[int] = (),
        *,
        x: Buffer | None = None,
        out: Buffer | None = None,
        place: int = UNKNOWN,
    ) -> list[_Told]:
        """Tell all ranks; what each of them told."""
        n = self.comm.size
        row = [*counts, *(expected or [UNKNOWN] * n), x.count if x else UNKNOWN, out.count if out else UNKNOWN, place]
        executable = self.comm.calls.get_exchange(self.collective, len(row), dtype, self.op, self.root)
        table = self.comm.gathered(executable, self.collective.label, row, self.timeout)
        return [_Told(r[:n], r[n : 2 * n], *r[2 * n :]) for r in table]

    def agree(self, rank: int, what: str, told: list[int], actual: list[int], where: str) -> None:
        """Whether what `rank` was told of the counts, if anything, is so. `where` says of whom the k-th of them is."""
        for k, n in enumerate(actual):
            if told[k] not in (UNKNOWN, n):
                raise self.error(f"rank {rank} was given {what} {told}: {told[k]} {where.format(k=k, n=n)}")

    def same(self, rank: int, told: list[int], other: int, actual: list[int]) -> None:
        """Whether two ranks were given the same counts."""
        if told != actual:
            raise self.error(f"ranks disagree on counts: rank {other} says {actual}, rank {rank} says {told}")

    def holds(self, what: str, count: int, needed: int, rank: int | None = None) -> None:
        """Whether a buffer, of `rank` or this one, has as many elements as the counts need."""
        if count != needed:
            owner = "" if rank is None else f" of rank {rank}"
            raise self.error(f"{what}{owner} has {count} elements, the counts need {needed}")

    def run(self, src: Buffer | None, dst: Buffer | None, inputs: Extents, outputs: Extents, async_op: bool) -> Any:
        dtype = next(b.dtype for b in (src, dst) if b is not None)
        key = np.array([n for side in (inputs, outputs) for rank in side for _, n in rank], np.int64).tobytes()
        count = max(sum(n for _, n in rank) for side in (inputs, outputs) for rank in side)

        def layout(plan: Plan) -> Layout:
            return Layout.explicit(plan, inputs, outputs, dtype.itemsize)

        executable = self.comm.calls.get_variable(self.collective, key, count, dtype, self.op, self.root, layout)
        return self.comm.finish(executable, self.collective.label, src, dst, async_op, self.timeout)


def _offsets(counts: Sequence[int]) -> tuple[Extent, ...]:
    """Adjoining blocks of these lengths."""
    result, at = [], 0
    for n in counts:
        result.append((at, n))
        at += n
    return tuple(result)
