"""The Communicator: collectives on arrays, among the ranks of a group."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from hal.bootstrap import SharedStore
from hal.config import Algorithms
from hal.interface.capability import Capability
from hal.interface.device import Device
from hal.interface.errors import NotSupported
from hal.plan.collective import Collective
from hal.runtime.group import Group
from hal_collectives import variable
from hal_collectives.arguments import Arguments
from hal_collectives.buffers import Arrays
from hal_collectives.caller import Caller
from hal_collectives.on_stream import StreamCaller
from hal_collectives.persistent import collective
from hal_collectives.selection import SelectionTable

Array = np.ndarray[Any, Any]
Counts = Any
"""A sequence of element counts, one a rank."""


class Communicator:
    """Collectives among the ranks of a group, in the order in which every rank calls them.

    Arrays are contiguous NumPy arrays (any shape), or objects with DLPack or the buffer protocol in this machine's
    memory. On a device whose memory the host does not reach they are `DeviceArray`s and other libraries' arrays in the
    device's memory; what is still under way on these is waited for, unless the call is made `on` a stream. Arrays of
    `empty` are reached by other ranks without a copy. `op` is sum, prod, min, max, avg, band, bor or
    bxor. Where `out` is not given the result is written in place (`all_reduce`, `broadcast`, `reduce` at the root) or
    to a new array, and returned. With `async_op` a `Work` is returned at once. `timeout` in seconds replaces the
    communicator's.

    All ranks make the same calls in the same order. Where they disagree every rank raises `UsageError` and the
    communicator stays usable; what was to be written is then undefined. A rank that has given what is wanted of it (the
    root of a broadcast, a sender) may return before others have called; what they called is then compared a few calls
    later, and where they disagree the communicator only raises. `StallTimeout` and `PeerFailure` are raised by
    every rank too, and leave a communicator that only raises. One thread at a time calls.

    What is called again and again with the same arrays can be prepared, any collective alike: `op =
    comm.all_reduce.prepare(x)` checks and loads, `op()` calls, at less cost (`CollectiveCall.prepare`).
    """

    def __init__(
        self,
        group: Group,
        *,
        pins: Algorithms | None = None,
        table: SelectionTable | None = None,
        local_rank: int = 0,
        owned: SharedStore | None = None,
    ) -> None:
        self.rank = group.rank
        self.size = group.size
        self.local_rank = local_rank
        self.timeout = group.timeout
        self._group = group
        self._pins = pins
        self._table = table
        self._arguments = Arguments(self.rank, self.size, Arrays(group.device, group.timeout))
        self._caller = Caller(group, pins, table, self._arguments, owned)
        self._core = self._twin()
        self._finalizer = weakref.finalize(self._core, self._caller.close)

    @property
    def core(self) -> Communicator:
        """What its collectives are bound to: a communicator that is closed when this one and all of them are gone."""
        return self._core

    @property
    def device(self) -> Device:
        """This rank's device."""
        return self._group.device

    @property
    def caller(self) -> Caller:
        """What makes its calls."""
        return self._caller

    def preparing(self, preparation: Caller) -> Communicator:
        """One whose calls go to `preparation`."""
        twin = self._twin()
        twin._caller = preparation
        return twin

    def _twin(self) -> Communicator:
        twin = object.__new__(Communicator)
        bound = vars(Communicator)
        twin.__dict__.update({name: value for name, value in self.__dict__.items() if name not in bound})
        return twin

    # one contribution a rank

    @collective(Collective.ALL_REDUCE, in_place=True)
    def all_reduce(
        self, x: Any, out: Any = None, op: str = "sum", *, async_op: bool = False, timeout: float | None = None
    ) -> Any:
        """Reduce `x` over all ranks, elementwise; every rank gets the result, of identical bits."""
        src, dst = self._arguments.in_out("all_reduce", x, out)
        return self._caller.call(Collective.ALL_REDUCE, src, dst, src.count, op, None, async_op, timeout)

    @collective(Collective.REDUCE, in_place=True, target_at_root=True)
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
        self._arguments.root("reduce", root)
        if self.rank == root:
            src, dst = self._arguments.in_out("reduce", x, out)
        else:
            src, dst = self._arguments.buffer("reduce", x, "x"), None
        return self._caller.call(Collective.REDUCE, src, dst, src.count, op, root, async_op, timeout)

    @collective(Collective.BROADCAST, in_place=True, source_at_root=True)
    def broadcast(
        self, x: Any, out: Any = None, root: int = 0, *, async_op: bool = False, timeout: float | None = None
    ) -> Any:
        """Give `x` of `root` to every rank, in their `x`, or in `out` where given (`x` of other ranks is not read)."""
        self._arguments.root("broadcast", root)
        if self.rank == root:
            src, dst = self._arguments.in_out("broadcast", x, out)
            return self._caller.call(Collective.BROADCAST, src, dst, src.count, "sum", root, async_op, timeout)
        dst = self._arguments.buffer(
            "broadcast", x if out is None else out, "x" if out is None else "out", writable=True
        )
        return self._caller.call(Collective.BROADCAST, None, dst, dst.count, "sum", root, async_op, timeout)

    # blocks, one a rank

    @collective(Collective.ALL_GATHER)
    def all_gather(self, x: Any, out: Any = None, *, async_op: bool = False, timeout: float | None = None) -> Any:
        """Every rank's `x`, in the order of the ranks, to every rank. `out` has `size` times the elements.

        In place where `x` is this rank's block of `out`.
        """
        src = self._arguments.buffer("all_gather", x, "x")
        dst = self._arguments.output("all_gather", out, src.dtype, self.size * src.count, (self.size, *src.shape))
        self._arguments.overlap("all_gather", src, dst, dst.block(self.rank, self.size))
        return self._caller.call(Collective.ALL_GATHER, src, dst, src.count, "sum", None, async_op, timeout)

    @collective(Collective.REDUCE_SCATTER)
    def reduce_scatter(
        self, x: Any, out: Any = None, op: str = "sum", *, async_op: bool = False, timeout: float | None = None
    ) -> Any:
        """Reduce `x`, of one block a rank, over all ranks; each rank gets its block of the result.

        In place where `out` is this rank's block of `x`.
        """
        src = self._arguments.buffer("reduce_scatter", x, "x")
        count = self._arguments.per_rank("reduce_scatter", src)
        dst = self._arguments.output("reduce_scatter", out, src.dtype, count, self._arguments.block_shape(src, count))
        self._arguments.overlap("reduce_scatter", dst, src, src.block(self.rank, self.size))
        return self._caller.call(Collective.REDUCE_SCATTER, src, dst, count, op, None, async_op, timeout)

    @collective(Collective.ALL_TO_ALL)
    def all_to_all(self, x: Any, out: Any = None, *, async_op: bool = False, timeout: float | None = None) -> Any:
        """Send block i of `x` to rank i, which gets it as the block of this rank. `out` may be `x` itself."""
        src = self._arguments.buffer("all_to_all", x, "x")
        count = self._arguments.per_rank("all_to_all", src)
        dst = self._arguments.output("all_to_all", out, src.dtype, src.count, src.shape)
        if src.address != dst.address:
            self._arguments.overlap("all_to_all", src, dst, None)
        elif not self._caller.group.executor.keeps_apart:
            src = self._caller.copied(src, keep=not async_op)
        return self._caller.call(Collective.ALL_TO_ALL, src, dst, count, "sum", None, async_op, timeout)

    @collective(Collective.GATHER, target_at_root=True)
    def gather(
        self, x: Any, out: Any = None, root: int = 0, *, async_op: bool = False, timeout: float | None = None
    ) -> Any:
        """Every rank's `x`, in the order of the ranks, to `out` of `root`; other ranks get None."""
        self._arguments.root("gather", root)
        src = self._arguments.buffer("gather", x, "x")
        dst = None
        if self.rank == root:
            dst = self._arguments.output("gather", out, src.dtype, self.size * src.count, (self.size, *src.shape))
            self._arguments.overlap("gather", src, dst, dst.block(self.rank, self.size))
        return self._caller.call(Collective.GATHER, src, dst, src.count, "sum", root, async_op, timeout)

    @collective(Collective.SCATTER, source_at_root=True)
    def scatter(
        self, x: Any, out: Any = None, root: int = 0, *, async_op: bool = False, timeout: float | None = None
    ) -> Any:
        """Give block i of `x` of `root` to rank i, in its `out`. Other ranks pass None as `x`, and an `out`."""
        self._arguments.root("scatter", root)
        if self.rank != root:
            dst = self._arguments.buffer("scatter", out, "out", writable=True)
            return self._caller.call(Collective.SCATTER, None, dst, dst.count, "sum", root, async_op, timeout)
        src = self._arguments.buffer("scatter", x, "x")
        count = self._arguments.per_rank("scatter", src)
        dst = self._arguments.output("scatter", out, src.dtype, count, self._arguments.block_shape(src, count))
        self._arguments.overlap("scatter", dst, src, src.block(self.rank, self.size))
        return self._caller.call(Collective.SCATTER, src, dst, count, "sum", root, async_op, timeout)

    # blocks of different lengths

    @collective()
    def all_gather_v(
        self, x: Any, out: Any = None, counts: Counts = None, *, async_op: bool = False, timeout: float | None = None
    ) -> Any:
        """`all_gather` of as many elements as each rank has. `counts`, where given, must be what the ranks have."""
        return variable.all_gather(self._caller, x, out, counts, async_op, timeout)

    @collective()
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
        return variable.reduce_scatter(self._caller, x, counts, out, op, async_op, timeout)

    @collective()
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
        return variable.gather(self._caller, x, out, counts, root, async_op, timeout)

    @collective()
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
        return variable.scatter(self._caller, x, counts, out, root, async_op, timeout)

    @collective()
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
        return variable.all_to_all(self._caller, x, send_counts, out, recv_counts, async_op, timeout)

    # messages and synchronisation

    @collective(Collective.SEND_RECV)
    def send(self, x: Any, dst: int, *, async_op: bool = False, timeout: float | None = None) -> Any:
        """Send `x` to rank `dst`, which receives as many elements of the same type. Returns when `x` is free again:
        `dst` has taken it, or will from memory of the runtime. No order of calls may rely on the latter.

        Messages between two ranks arrive in order. Two ranks that send to each other use `async_op` on one side.
        """
        src = self._arguments.buffer("send", x, "x")
        self._arguments.peer("send", "dst", dst)
        return self._caller.message((self.rank, dst), src, None, async_op, timeout)

    @collective(Collective.SEND_RECV)
    def recv(self, out: Any, src: int, *, async_op: bool = False, timeout: float | None = None) -> Any:
        """Receive the next message of rank `src` into `out`, which has just its count and type; returns `out`."""
        dst = self._arguments.buffer("recv", out, "out", writable=True)
        self._arguments.peer("recv", "src", src)
        return self._caller.message((src, self.rank), None, dst, async_op, timeout)

    @collective(Collective.BARRIER)
    def barrier(self, *, async_op: bool = False, timeout: float | None = None) -> Any:
        """Return when every rank has called it."""
        return self._caller.call(Collective.BARRIER, None, None, 0, "sum", None, async_op, timeout)

    # memory and groups

    def empty(self, shape: int | tuple[int, ...], dtype: Any = np.float32) -> Any:
        """An uninitialised array in memory that the other ranks reach without a copy. A local call.

        It is a NumPy array where the host reaches the device's memory, else a `DeviceArray`.
        """
        return self._arguments.arrays.empty(shape, dtype)

    def on(self, stream: Any) -> Communicator:
        """This communicator with its calls on a stream: they return at once, and run in the stream's order.

        `stream` is one of the device or of the library whose arrays are passed. Arrays have to live, and stay as they
        are, until their calls have ended; a call that finds its stream captured becomes part of the graph. What goes
        wrong is raised by `check`, and by the next call. Calls whose ranks first tell each other counts (`..._v`) and
        asynchronous ones are made without a stream. `NotSupported` where the device does not enqueue (capability
        `enqueue`).
        """
        if Capability.ENQUEUE not in self._group.device.capabilities:
            name = self._group.device.properties.name
            raise NotSupported(f"{name} enqueues no calls on streams: capability {Capability.ENQUEUE.value}")
        arguments = Arguments(self.rank, self.size, self._arguments.arrays, settle=False)
        inner = self._core.preparing(StreamCaller(self._caller, stream, arguments))
        inner._arguments = arguments
        other = inner._twin()
        other._core = inner
        return other

    def check(self) -> None:
        """Raise what went wrong in calls on streams that have ended. Does not wait."""
        self._caller.check()

    def split(self, color: int | None, key: int = 0) -> Communicator | None:
        """A communicator of the ranks that give the same `color`, ordered by `key`, then by rank; None joins none."""
        self._caller.check_open("split")
        for what, value in (("color", 0 if color is None else color), ("key", key)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise self._arguments.error("split", f"{what} is {value!r}: an integer is needed")
        group = self._group.split(color, key)
        return None if group is None else self._like(group)

    def shrink(self, without: Sequence[int] = (), *, timeout: float | None = None) -> Communicator:
        """A communicator of the ranks that are still there, in the order of this one, which may have failed.

        Left out are ranks that died or have left, and those of `without`, ranks of this communicator that may live but
        do not answer. All others call it, with the same `without`; who dies meanwhile is left out too. This
        communicator stays what it is. `StallTimeout` where some do not come within `timeout` seconds names them.
        """
        self._caller.check_open("shrink")
        for rank in without:
            self._arguments.peer("shrink", "without", rank)
        seconds = None if timeout is None else self._arguments.seconds("shrink", timeout)
        return self._like(self._group.shrink(set(without), seconds))

    def _like(self, group: Group) -> Communicator:
        return Communicator(
            group, pins=self._pins, table=self._table, local_rank=self.local_rank, owned=self._caller.store
        )

    def abort(self) -> None:
        """Make all ranks' current and later calls raise `PeerFailure`. From any thread."""
        self._group.abort()

    def close(self) -> None:
        """Leave. Asynchronous calls are waited for. Closing twice is allowed; at the end of the process it is done.

        The process leaves the job with the last of those that `init` made, and `split` and `shrink` from them.
        """
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        self.close()

    def __repr__(self) -> str:
        mixed = f", backends {', '.join(self._group.backends or ())}" if self._group.mixed else ""
        return f"<Communicator rank {self.rank} of {self.size}, group {self._group.name}{mixed}>"
