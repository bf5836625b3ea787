"""How a communicator makes its calls: in order, at once or later, and remembered for the next time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hal.bootstrap import SharedStore
from hal.config import Algorithms
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.executor import Executable, FastCalls
from hal.plan.collective import Collective
from hal.runtime.group import Group
from hal.runtime.placed import PlacedExecutable
from hal_collectives.arguments import Arguments
from hal_collectives.buffers import Buffer
from hal_collectives.calls import Calls
from hal_collectives.selection import SelectionTable
from hal_collectives.work import Queue

Remember = tuple[FastCalls | None, object, int]
"""The table that is to remember a call, and the `op` and rank by which it will be looked up."""

NOT_REMEMBERED: Remember = (None, None, 0)


class Caller:
    """Makes the calls of one communicator, which passes it checked arguments."""

    def __init__(
        self,
        group: Group,
        pins: Algorithms | None,
        table: SelectionTable | None,
        arguments: Arguments,
        store: SharedStore | None,
    ) -> None:
        self.group = group
        self.rank = group.rank
        self.size = group.size
        self.calls = Calls(group, pins, table)
        self.closed = False
        self.arguments = arguments
        self.store = None if store is None else store.keep()
        self._queue = Queue()
        self._pair_queues: dict[tuple[int, int], Queue] = {}
        self._tables: dict[Collective, FastCalls] = {}
        self._bounce: Any = None
        self.enqueued: dict[int, Executable] = {}
        """Of each executor that a stream was given a call for, the last one."""

    def table(self, collective: Collective) -> FastCalls | None:
        """What serves repeated calls of a collective; None where the executor has no such thing."""
        if collective not in self._tables:
            table = self.group.executor.fast_calls()
            if table is None:
                return None
            table.enabled = self._idle()
            self._tables[collective] = table
        return self._tables[collective]

    def call(
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
        """Make a call of equal counts."""
        self.check_open(collective.label)
        dtype = next((b.dtype for b in (src, dst) if b is not None), DType.UINT8)
        reduction = self.arguments.reduction(collective.label, op, dtype)
        executable = self.calls.get(collective, count, dtype, reduction, root)
        remember = (self._tables.get(collective), op if collective.reduces else "", 0 if root is None else root)
        return self.finish(executable, collective.label, src, dst, async_op, timeout, remember)

    def message(
        self, pair: tuple[int, int], src: Buffer | None, dst: Buffer | None, async_op: bool, timeout: float | None
    ) -> Any:
        """Send `src` or receive into `dst`, whichever is given, from the first rank of `pair` to the second."""
        buffer = src or dst
        assert buffer is not None
        name, peer = ("send", pair[1]) if dst is None else ("recv", pair[0])
        self.check_open(name)
        executable = self.calls.get(Collective.SEND_RECV, buffer.count, buffer.dtype, ReduceOp.SUM, None, pair=pair)
        remember = (self._tables.get(Collective.SEND_RECV), "", peer)
        queue = self._pair_queues.setdefault(pair, Queue())
        return self.finish(executable, name, src, dst, async_op, timeout, remember, queue=queue)

    def finish(
        self,
        executable: Executable,
        operation: str,
        src: Buffer | None,
        dst: Buffer | None,
        async_op: bool,
        timeout: float | None,
        remember: Remember = NOT_REMEMBERED,
        *,
        queue: Queue | None = None,
    ) -> Any:
        """What becomes of a call that is ready to run: it is run (one that is being prepared is not)."""
        return self.launch(executable, operation, src, dst, async_op, timeout, remember, queue=queue)

    def launch(
        self,
        executable: Executable,
        operation: str,
        src: Buffer | None,
        dst: Buffer | None,
        async_op: bool,
        timeout: float | None,
        remember: Remember = NOT_REMEMBERED,
        *,
        queue: Queue | None = None,
    ) -> Any:
        """Run what was prepared, after everything that is pending in its queue; the output, or a `Work`."""
        queue = queue or self._queue
        seconds = self.arguments.seconds(operation, self.group.timeout if timeout is None else timeout)

        def run() -> Any:
            executable.run(
                src.address if src else 0,
                src.nbytes if src else 0,
                dst.address if dst else 0,
                dst.nbytes if dst else 0,
                seconds,
            )
            return dst.given if dst else None

        if async_op:
            self._enable_tables(False)
            return queue.submit(run, operation)
        result = queue.run(run, operation)
        if self._idle():
            self._enable_tables(True)
        table, op, rank = remember
        if isinstance(executable, PlacedExecutable):
            # only what needs no copies may be remembered
            source, target = ((b.address, b.nbytes) if b else (0, 0) for b in (src, dst))
            direct = executable.direct(*source, *target)
            table, executable = (None, executable) if direct is None else (table, direct)
        if table is not None and timeout is None:
            table.remember(src.given if src else None, dst.given if dst else None, op, rank, executable, seconds)
        return result

    def copied(self, src: Buffer, *, keep: bool) -> Buffer:
        """A copy to send from, in mapped memory, for what would be overwritten while peers still read it.

        With `keep` in one piece of memory that serves the next such call too, which must not overlap this one.
        """
        room = self._bounce if keep else None
        if room is None or room.nbytes < src.nbytes:
            room = self.arguments.arrays.empty(src.nbytes, np.uint8)
            self._bounce = room if keep else self._bounce
        copy = self.arguments.arrays.like(src, room)
        self.arguments.arrays.copy(copy, src)
        return copy

    def gathered(self, executable: Executable, operation: str, row: Sequence[int], timeout: float | None) -> list[Any]:
        """Run an all_gather of one row of integers a rank; everybody's rows."""
        arrays = self.arguments.arrays
        target: Any
        mine, table = np.array([row], np.int64), np.empty((self.size, len(row)), np.int64)
        source = mine if arrays.shared else arrays.empty(mine.shape, np.int64).copy_from(mine)
        target = table if arrays.shared else arrays.empty(table.shape, np.int64)
        src, dst = (arrays.buffer(x, "counts", writable=True, settle=False) for x in (source, target))
        self.launch(executable, operation, src, dst, False, timeout)
        rows: list[Any] = (table if arrays.shared else target.numpy()).tolist()
        return rows

    def check(self) -> None:
        """Raise what went wrong in calls on streams that have ended."""
        for executable in self.enqueued.values():
            executable.check()

    def check_open(self, operation: str) -> None:
        """Refuse to go on after `close`."""
        if self.closed:
            raise self.arguments.error(operation, "this communicator is closed")

    def close(self) -> None:
        """Wait for what is pending, and leave the group."""
        if self.closed:
            return
        self.closed = True
        for table in self._tables.values():
            table.clear()
        for each in (self._queue, *self._pair_queues.values()):
            each.close()
        self._bounce = None
        self.enqueued.clear()
        self.group.close()
        self.arguments.arrays.close()
        # the device stays open: arrays of `empty` outlive the communicator, and it goes with the last of them
        if self.store is not None:
            self.store.release()

    def _idle(self) -> bool:
        return all(q.idle for q in (self._queue, *self._pair_queues.values()))

    def _enable_tables(self, enabled: bool) -> None:
        for table in self._tables.values():
            table.enabled = enabled
