"""The Communicator: collectives on arrays, among the ranks of a group."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np

from hal.bootstrap import Store
from hal.config import Algorithms
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError
from hal.interface.executor import FastCalls
from hal.plan.collective import Collective
from hal.runtime.group import Group
from hal_collectives import buffers, variable
from hal_collectives.buffers import Buffer, as_buffer, overlap
from hal_collectives.calls import Calls
from hal_collectives.work import Queue

Array = np.ndarray[Any, Any]
Counts = Any
"""A sequence of element counts, one a rank."""


class Communicator:
    """Collectives among the ranks of a group, in the order in which every rank calls them.

    Arrays are contiguous NumPy arrays (any shape), or objects with DLPack or the buffer protocol in this machine's
    memory. Arrays of `empty` are reached by other ranks without a copy. `op` is sum, prod, min, max, avg, band, bor or
    bxor. Where `out` is not given the result is written in place (`all_reduce`, `broadcast`, `reduce` at the root) or
    to a new array, and returned. With `async_op` a `Work` is returned at once. `timeout` in seconds replaces the
    communicator's.

    All ranks make the same calls in the same order. Where they disagree every rank raises `UsageError` and the
    communicator stays usable; what was to be written is then undefined. `StallTimeout` and `PeerFailure` are raised by
    every rank too, and leave a communicator that only raises. One thread at a time calls.
    """

    def __init__(
        self,
        group: Group,
        *,
        pins: Algorithms | None = None,
        local_rank: int = 0,
        owned: Store | None = None,
    ) -> None:
        self._group = group
        self._pins = pins
        self._calls = Calls(group, pins)
        self._queue = Queue()
        self._tables: dict[Collective, FastCalls] = {}
        self._fast_all_reduce = self._table(Collective.ALL_REDUCE)
        self._fast_all_gather = self._table(Collective.ALL_GATHER)
        self._fast_reduce_scatter = self._table(Collective.REDUCE_SCATTER)
        self._fast_all_to_all = self._table(Collective.ALL_TO_ALL)
        self._fast_broadcast = self._table(Collective.BROADCAST)
        self._fast_reduce = self._table(Collective.REDUCE)
        self._fast_gather = self._table(Collective.GATHER)
        self._fast_scatter = self._table(Collective.SCATTER)
        self._fast_barrier = self._table(Collective.BARRIER)
        self._fast_message = self._table(Collective.SEND_RECV)
        self._pair_queues: dict[tuple[int, int], Queue] = {}
        self.rank = group.rank
        self.size = group.size
        self.local_rank = local_rank
        self.timeout = group.timeout
        self._close = weakref.finalize(self, _close, group, self._queue, self._pair_queues, self._tables, owned)

    # one contribution a rank

    def all_reduce(
        self, x: Any, out: Any = None, op: str = "sum", *, async_op: bool = False, timeout: float | None = None
    ) -> Any:
        """Reduce `x` over all ranks, elementwise; every rank gets the result, of identical bits."""
        if not async_op and timeout is None and self._fast_all_reduce(x, x if out is None else out, op, 0):
            return x if out is None else out
        src, dst = self._in_out("all_reduce", x, out)
        return self._call(Collective.ALL_REDUCE, src, dst, src.count, op, None, async_op, timeout)

    def reduce(
        self,
        x: Any,
        out: Any = None,
        op: str = "sum",
        root: int = 0,
        *,
        async_op: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Reduce `x` over all ranks to `out` of `root`; other ranks keep their `x`, and need no `out`."""
        result = None if root != self.rank else x if out is None else out
        if not async_op and timeout is None and self._fast_reduce(x, result, op, root):
            return result
        self._check_root("reduce", root)
        if self.rank == root:
            src, dst = self._in_out("reduce", x, out)
        else:
            src, dst = self._buffer("reduce", x, "x"), None
        return self._call(Collective.REDUCE, src, dst, src.count, op, root, async_op, timeout)

    def broadcast(
        self, x: Any, out: Any = None, root: int = 0, *, async_op: bool = False, timeout: float | None = None
    ) -> Any:
        """Give `x` of `root` to every rank, in their `x`, or in `out` where given (`x` of other ranks is not read)."""
        result = x if out is None else out
        if (
            not async_op
            and timeout is None
            and self._fast_broadcast(x if root == self.rank else None, result, "", root)
        ):
            return result
        self._check_root("broadcast", root)
        if self.rank == root:
            src, dst = self._in_out("broadcast", x, out)
            return self._call(Collective.BROADCAST, src, dst, src.count, "sum", root, async_op, timeout)
        dst = self._buffer("broadcast", x if out is None else out, "x" if out is None else "out", writable=True)
        return self._call(Collective.BROADCAST, None, dst, dst.count, "sum", root, async_op, timeout)

    # blocks, one a rank

    def all_gather(self, x: Any, out: Any = None, *, async_op: bool = False, timeout: float | None = None) -> Any:
        """Every rank's `x`, in the order of the ranks, to every rank. `out` has `size` times the elements.

        In place where `x` is this rank's block of `out`.
        """
        if not async_op and timeout is None and self._fast_all_gather(x, out, "", 0):
            return out
        src = self._buffer("all_gather", x, "x")
        dst = self._out("all_gather", out, src, self.size * src.count, (self.size, *src.array.shape))
        self._check_overlap("all_gather", src, dst, dst.block(self.rank, self.size))
        return self._call(Collective.ALL_GATHER, src, dst, src.count, "sum", None, async_op, timeout)

    def reduce_scatter(
        self, x: Any, out: Any = None, op: str = "sum", *, async_op: bool = False, timeout: float | None = None
    ) -> Any:
        """Reduce `x`, of one block a rank, over all ranks; each rank gets its block of the result.

        In place where `out` is this rank's block of `x`.
        """
        if not async_op and timeout is None and self._fast_reduce_scatter(x, out, op, 0):
            return out
        src = self._buffer("reduce_scatter", x, "x")
        count = self._per_rank("reduce_scatter", src)
        dst = self._out("reduce_scatter", out, src, count, self._block_shape(src, count))
        self._check_overlap("reduce_scatter", dst, src, src.block(self.rank, self.size))
        return self._call(Collective.REDUCE_SCATTER, src, dst, count, op, None, async_op, timeout)

    def all_to_all(self, x: Any, out: Any = None, *, async_op: bool = False, timeout: float | None = None) -> Any:
        """Send block i of `x` to rank i, which gets it as the block of this rank. `out` may be `x` itself."""
        if not async_op and timeout is None and self._fast_all_to_all(x, out, "", 0):
            return out
        src = self._buffer("all_to_all", x, "x")
        count = self._per_rank("all_to_all", src)
        dst = self._out("all_to_all", out, src, src.count, src.array.shape)
        if src.address == dst.address:
            # what a peer still reads would be overwritten: send from a copy
            src = as_buffer(src.array.copy(), "x", writable=False)
        self._check_overlap("all_to_all", src, dst, None)
        return self._call(Collective.ALL_TO_ALL, src, dst, count, "sum", None, async_op, timeout)

    def gather(
        self, x: Any, out: Any = None, root: int = 0, *, async_op: bool = False, timeout: float | None = None
    ) -> Any:
        """Every rank's `x`, in the order of the ranks, to `out` of `root`; other ranks get None."""
        result = out if root == self.rank else None
        if not async_op and timeout is None and self._fast_gather(x, result, "", root):
            return result
        self._check_root("gather", root)
        src = self._buffer("gather", x, "x")
        dst = None
        if self.rank == root:
            dst = self._out("gather", out, src, self.size * src.count, (self.size, *src.array.shape))
            self._check_overlap("gather", src, dst, dst.block(self.rank, self.size))
        return self._call(Collective.GATHER, src, dst, src.count, "sum", root, async_op, timeout)

    def scatter(
        self, x: Any, out: Any = None, root: int = 0, *, async_op: bool = False, timeout: float | None = None
    ) -> Any:
        """Give block i of `x` of `root` to rank i, in its `out`. Other ranks pass None as `x`, and an `out`."""
        if not async_op and timeout is None and self._fast_scatter(x if root == self.rank else None, out, "", root):
            return out
        self._check_root("scatter", root)
        if self.rank != root:
            dst = self._buffer("scatter", out, "out", writable=True)
            return self._call(Collective.SCATTER, None, dst, dst.count, "sum", root, async_op, timeout)
        src = self._buffer("scatter", x, "x")
        count = self._per_rank("scatter", src)
        dst = self._out("scatter", out, src, count, self._block_shape(src, count))
        self._check_overlap("scatter", dst, src, src.block(self.rank, self.size))
        return self._call(Collective.SCATTER, src, dst, count, "sum", root, async_op, timeout)

    # blocks of different lengths

    def all_gather_v(
        self, x: Any, out: Any = None, counts: Counts = None, *, async_op: bool = False, timeout: float | None = None
    ) -> Any:
        """`all_gather` of as many elements as each rank has. `counts`, where given, must be what the ranks have."""
        return variable.all_gather(self, x, out, counts, async_op, timeout)

    def reduce_scatter_v(
        self,
        x: Any,
        counts: Counts,
        out: Any = None,
        op: str = "sum",
        *,
        async_op: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """`reduce_scatter` in blocks of `counts[i]` elements, the same counts on every rank."""
        return variable.reduce_scatter(self, x, counts, out, op, async_op, timeout)

    def gather_v(
        self,
        x: Any,
        out: Any = None,
        counts: Counts = None,
        root: int = 0,
        *,
        async_op: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """`gather` of as many elements as each rank has."""
        return variable.gather(self, x, out, counts, root, async_op, timeout)

    def scatter_v(
        self,
        x: Any,
        counts: Counts = None,
        out: Any = None,
        root: int = 0,
        *,
        async_op: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """`scatter` in blocks of `counts[i]` elements, which the root gives."""
        return variable.scatter(self, x, counts, out, root, async_op, timeout)

    def all_to_all_v(
        self,
        x: Any,
        send_counts: Counts,
        out: Any = None,
        recv_counts: Counts = None,
        *,
        async_op: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """`all_to_all` where `send_counts[i]` elements go to rank i. `recv_counts` must match, where given."""
        return variable.all_to_all(self, x, send_counts, out, recv_counts, async_op, timeout)

    # messages and synchronisation

    def send(self, x: Any, dst: int, *, async_op: bool = False, timeout: float | None = None) -> Any:
        """Send `x` to rank `dst`, which receives as many elements of the same type. Returns when it has taken them.

        Messages between two ranks arrive in order. Two ranks that send to each other use `async_op` on one side.
        """
        if not async_op and timeout is None and self._fast_message(x, None, "", dst):
            return None
        src = self._buffer("send", x, "x")
        self._check_peer("send", "dst", dst)
        return self._message((self.rank, dst), src, None, async_op, timeout)

    def recv(self, out: Any, src: int, *, async_op: bool = False, timeout: float | None = None) -> Any:
        """Receive the next message of rank `src` into `out`, which has just its count and type; returns `out`."""
        if not async_op and timeout is None and self._fast_message(None, out, "", src):
            return out
        dst = self._buffer("recv", out, "out", writable=True)
        self._check_peer("recv", "src", src)
        return self._message((src, self.rank), None, dst, async_op, timeout)

    def barrier(self, *, async_op: bool = False, timeout: float | None = None) -> Any:
        """Return when every rank has called it."""
        if not async_op and timeout is None and self._fast_barrier(None, None, "", 0):
            return None
        return self._call(Collective.BARRIER, None, None, 0, "sum", None, async_op, timeout)

    # memory and groups

    def empty(self, shape: int | tuple[int, ...], dtype: Any = np.float32) -> Array:
        """An uninitialised array in memory that the other ranks reach without a copy. A local call."""
        return buffers.empty(self._group.device, shape, dtype)

    def split(self, color: int | None, key: int = 0) -> Communicator | None:
        """A communicator of the ranks that give the same `color`, ordered by `key`, then by rank; None joins none."""
        group = self._group.split(color, key)
        return None if group is None else Communicator(group, pins=self._pins, local_rank=self.local_rank)

    def abort(self) -> None:
        """Make all ranks' current and later calls raise `PeerFailure`. From any thread."""
        self._group.abort()

    def close(self) -> None:
        """Leave. Asynchronous calls are waited for. Closing twice is allowed; at the end of the process it is done."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        self.close()

    def __repr__(self) -> str:
        return f"<Communicator rank {self.rank} of {self.size}, group {self._group.name}>"

    # how calls are made

    def _call(
        self,
        collective: Collective,
        src: Buffer | None,
        dst: Buffer | None,
        count: int,
        op: str,
        root: int | None,
        async_op: bool,
        timeout: float | None,
    ) -> Any:
        self._check_open(collective.label)
        dtype = next((b.dtype for b in (src, dst) if b is not None), DType.UINT8)
        operation = ReduceOp.of(op)
        operation.check(dtype)
        executable = self._calls.get(collective, count, dtype, operation, root)
        remember = (self._tables.get(collective), op if collective.reduces else "", 0 if root is None else root)
        return self._launch(self._queue, executable, collective.label, src, dst, async_op, timeout, remember)

    def _message(
        self, pair: tuple[int, int], src: Buffer | None, dst: Buffer | None, async_op: bool, timeout: float | None
    ) -> Any:
        buffer = src or dst
        assert buffer is not None
        self._check_open("send" if dst is None else "recv")
        executable = self._calls.get(Collective.SEND_RECV, buffer.count, buffer.dtype, ReduceOp.SUM, None, pair=pair)
        queue = self._pair_queues.setdefault(pair, Queue())
        name, peer = ("send", pair[1]) if dst is None else ("recv", pair[0])
        remember = (self._tables.get(Collective.SEND_RECV), "", peer)
        return self._launch(queue, executable, name, src, dst, async_op, timeout, remember)

    def _launch(
        self,
        queue: Queue,
        executable: Any,
        operation: str,
        src: Buffer | None,
        dst: Buffer | None,
        async_op: bool,
        timeout: float | None,
        remember: tuple[FastCalls | None, object, int] = (None, None, 0),
    ) -> Any:
        seconds = self.timeout if timeout is None else timeout
        if not seconds > 0:
            raise UsageError(f"timeout is {seconds}: seconds above 0 are allowed", rank=self.rank, operation=operation)

        def run() -> Any:
            executable.run(
                src.address if src else 0,
                src.nbytes if src else 0,
                dst.address if dst else 0,
                dst.nbytes if dst else 0,
                seconds,
            )
            return dst.given if dst else None

        table, op, root = remember
        if async_op:
            self._enable_tables(False)
            return queue.submit(run, operation)
        result = queue.run(run, operation)
        if all(q.idle for q in (self._queue, *self._pair_queues.values())):
            self._enable_tables(True)
        if table is not None and timeout is None:
            table.remember(src.given if src else None, dst.given if dst else None, op, root, executable, seconds)
        return result

    def _table(self, collective: Collective) -> Callable[[Any, Any, object, Any], bool]:
        """What serves repeated calls of a collective; it finds nothing where the executor has no such thing."""
        table = self._group.executor.fast_calls()
        if table is None:
            return lambda source, target, op, root: False
        self._tables[collective] = table
        return table.run

    def _enable_tables(self, enabled: bool) -> None:
        for table in self._tables.values():
            table.enabled = enabled

    def _buffer(self, operation: str, x: Any, what: str, *, writable: bool = False) -> Buffer:
        try:
            return as_buffer(x, what, writable=writable)
        except UsageError as error:
            raise UsageError(error.message, rank=self.rank, operation=operation) from None

    def _in_out(self, operation: str, x: Any, out: Any) -> tuple[Buffer, Buffer]:
        """Input and output of the same size, the input itself where `out` is None."""
        if out is None or out is x:
            both = self._buffer(operation, x, "x", writable=True)
            return both, both
        src = self._buffer(operation, x, "x")
        dst = self._out(operation, out, src, src.count, src.array.shape)
        self._check_overlap(operation, src, dst, dst.address)
        return src, dst

    def _out(self, operation: str, out: Any, src: Buffer, count: int, shape: tuple[int, ...]) -> Buffer:
        """The output of `count` elements, made now where it is not given."""
        if out is None:
            return as_buffer(np.empty(shape, src.array.dtype), "out", writable=True)
        dst = self._buffer(operation, out, "out", writable=True)
        if dst.dtype is not src.dtype:
            text = f"out has dtype {dst.dtype.label}, x has {src.dtype.label}: they must be the same"
            raise UsageError(text, rank=self.rank, operation=operation)
        if dst.count != count:
            text = f"out has {dst.count} elements: {count} are needed for an x of {src.count} on {self.size} ranks"
            raise UsageError(text, rank=self.rank, operation=operation)
        return dst

    def _per_rank(self, operation: str, src: Buffer) -> int:
        if src.count % self.size:
            text = f"x has {src.count} elements, which are not {self.size} equal blocks: one a rank is needed"
            raise UsageError(text, rank=self.rank, operation=operation)
        return src.count // self.size

    def _block_shape(self, src: Buffer, count: int) -> tuple[int, ...]:
        shape: tuple[int, ...] = src.array.shape
        if shape and shape[0] == self.size:
            return shape[1:]
        if shape and shape[0] % self.size == 0:
            return (shape[0] // self.size, *shape[1:])
        return (count,)

    def _check_overlap(self, operation: str, part: Buffer, whole: Buffer, allowed: int | None) -> None:
        if part.address != allowed and overlap(part, whole):
            raise UsageError(
                "x and out share memory other than as the in-place form allows", rank=self.rank, operation=operation
            )

    def _check_root(self, operation: str, root: int) -> None:
        self._check_rank(operation, "root", root)

    def _check_peer(self, operation: str, what: str, peer: int) -> None:
        self._check_rank(operation, what, peer)
        if peer == self.rank:
            raise UsageError(f"{what} is this rank itself", rank=self.rank, operation=operation)

    def _check_rank(self, operation: str, what: str, rank: int) -> None:
        if isinstance(rank, bool) or not isinstance(rank, (int, np.integer)) or not 0 <= rank < self.size:
            text = f"{what} is {rank!r}: ranks are 0 to {self.size - 1}"
            raise UsageError(text, rank=self.rank, operation=operation)

    def _check_open(self, operation: str) -> None:
        if not self._close.alive:
            raise UsageError("this communicator is closed", rank=self.rank, operation=operation)


def _close(
    group: Group,
    queue: Queue,
    pair_queues: dict[tuple[int, int], Queue],
    tables: dict[Collective, FastCalls],
    owned: Store | None,
) -> None:
    for table in tables.values():
        table.clear()
    for each in (queue, *pair_queues.values()):
        each.close()
    group.close()
    # the device stays open: arrays of `empty` outlive the communicator, and it goes with the last of them
    if owned is not None:
        owned.close()
