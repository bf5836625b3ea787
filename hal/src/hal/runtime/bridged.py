"""Running plans on another device than that which holds the buffers: copied there before, and back after.

So a member of a mixed group (`hal.runtime.backends`) takes part with the executor of the host backend. Of its own
device nothing is used but `copy` and events, which every backend has.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from hal.interface.capability import Capability
from hal.interface.device import Device, Event, Memory
from hal.interface.errors import HalError, NotSupported, StallTimeout, UsageError, WorldError
from hal.interface.executor import Call, Executable, Executor
from hal.plan.collective import Collective
from hal.plan.lower import Program
from hal.plan.model import Plan

_ALIGN = 256


class BridgedExecutor(Executor):
    """Takes part with `inner`, the executor of `common`, for buffers of `device`.

    It owns `inner`, and `common` where it has no `parent`, as a pair's has. `ranks` are what messages call the members.
    """

    def __init__(
        self,
        inner: Executor,
        device: Device,
        common: Device,
        ranks: tuple[int, ...],
        parent: BridgedExecutor | None = None,
    ) -> None:
        self.rank = inner.rank
        self.size = inner.size
        self.inner = inner
        self.device = device
        self.ranks = ranks
        self.lock = threading.RLock()
        """Held by whoever uses the room."""
        self._common = common
        self._parent = parent
        self._pairs: dict[tuple[int, int], BridgedExecutor] = {}
        self._room: Memory | None = None
        self._mark: Event | None = None
        self._closed = False

    @property
    def scratch_bytes(self) -> int:
        """See `Executor.scratch_bytes`."""
        return self.inner.scratch_bytes

    def stretches(self, plan: Plan) -> bool:
        """See `Executor.stretches`."""
        return self.inner.stretches(plan)

    def load(self, call: Call, program: Program, mapped: Program | None = None) -> BridgedExecutable:
        """See `Executor.load`."""
        return BridgedExecutable(self, self.inner.load(call, program, mapped), call.collective)

    def pair(self, sender: int, receiver: int) -> BridgedExecutor:
        """See `Executor.pair`."""
        inner = self.inner.pair(sender, receiver)
        with self.lock:
            if (sender, receiver) not in self._pairs:
                ranks = (self.ranks[sender], self.ranks[receiver])
                made = BridgedExecutor(inner, self.device, self._common, ranks, self)
                self._pairs[sender, receiver] = made
            return self._pairs[sender, receiver]

    def is_mapped(self, address: int, nbytes: int) -> bool:
        """See `Executor.is_mapped`. What others reach is the copy, of whatever memory."""
        with self.lock:
            return self.inner.is_mapped(self.room(nbytes), nbytes)

    def abort(self) -> None:
        """See `Executor.abort`."""
        (self._parent or self).inner.abort()  # a group ends with its pairs

    def close(self) -> None:
        """See `Executor.close`."""
        self.inner.close()  # which ends what runs
        with self.lock:
            if self._closed:
                return
            self._closed = True
            for pair in self._pairs.values():
                pair.close()
            if self._room is not None:
                self._common.free(self._room)
            self._room = self._mark = None
        if self._parent is None:
            self._common.close()

    # what executables use, holding the lock

    def room(self, nbytes: int) -> int:
        """The address of at least so many bytes that all members reach; what they held is lost."""
        if self._closed:
            raise UsageError("this communicator is closed", rank=self.ranks[self.rank])
        if self._room is None or self._room.nbytes < nbytes:
            if self._room is not None:
                self._common.free(self._room)
                self._room = None
            self._room = self._common.allocate(max(nbytes, _ALIGN))
        return self._room.address

    def await_stream(self, stream: Any, timeout: float) -> None:
        """Return when all work enqueued on a stream so far is done."""
        if self._mark is None:
            self._mark = self.device.create_event()
        self._mark.record(stream)
        try:
            self._mark.synchronize(timeout)
        except StallTimeout:
            raise StallTimeout(f"what it was given before this call was not done after {timeout} s") from None
        except UsageError as error:
            raise NotSupported(
                "a call in a group of several backends runs on the CPUs, and cannot be part of a graph: "
                f"{error.message}"
            ) from error


class BridgedExecutable(Executable):
    """Runs another executable on copies."""

    def __init__(self, home: BridgedExecutor, inner: Executable, collective: Collective) -> None:
        self._home = home
        self._inner = inner
        self._operation = collective.label
        self._writes_all = collective is not Collective.CUSTOM
        self._known: tuple[int, int] | None = None
        """The output of the last call, which can be read and so written."""

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        """See `Executable.run`. A buffer that the device cannot copy from is a `UsageError`, with nothing done."""
        self._check(timeout)
        home, copy = self._home, self._home.device.copy
        with home.lock:
            source, target, nbytes = _places(src, src_bytes, dst, dst_bytes)
            room = home.room(nbytes)
            inside = src <= dst and dst + dst_bytes <= src + src_bytes
            if dst_bytes and not inside and (not self._writes_all or self._known != (dst, dst_bytes)):
                # keeps what the plan does not write; and else shows what cannot be written before others take part
                with self._doing("the output"):
                    copy(room + target, dst, dst_bytes)
                self._known = (dst, dst_bytes)
            if src_bytes:
                with self._doing("the input"):
                    copy(room + source, src, src_bytes)
            self._inner.run(
                room + source if src_bytes else 0,
                src_bytes,
                room + target if dst_bytes else 0,
                dst_bytes,
                timeout,
            )
            if dst_bytes:
                with self._doing("the output"):
                    copy(dst, room + target, dst_bytes)

    def enqueue(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float, stream: Any) -> None:
        """See `Executable.enqueue`; but it returns when the call has ended, and raises what went wrong itself.

        `NotSupported` where the stream is captured.
        """
        if Capability.ENQUEUE not in self._home.device.capabilities:
            super().enqueue(src, src_bytes, dst, dst_bytes, timeout, stream)
        self._check(timeout)
        with self._home.lock:
            with self._doing("the stream"):
                self._home.await_stream(stream, timeout)
            self.run(src, src_bytes, dst, dst_bytes, timeout)

    @property
    def _rank(self) -> int:
        return self._home.ranks[self._home.rank]

    def _check(self, timeout: float) -> None:
        if not timeout > 0:
            text = f"the timeout is {timeout}: a number of seconds above 0 is needed"
            raise UsageError(text, rank=self._rank, operation=self._operation)

    @contextlib.contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """Says in errors what they are about. Where this rank cannot take part, the others do not wait for it.

        Nor is its next call taken for this one.
        """
        try:
            yield
        except HalError as error:
            if isinstance(error, WorldError):
                self._home.abort()
            text = f"{what}: {error.message}"
            raise type(error)(text, rank=self._rank, operation=self._operation) from error


def _places(src: int, src_bytes: int, dst: int, dst_bytes: int) -> tuple[int, int, int]:
    """Where input and output lie in the room, and its length: apart, or shared as they share their own memory."""
    if src < dst + dst_bytes and dst < src + src_bytes:
        first = min(src, dst)
        return src - first, dst - first, max(src + src_bytes, dst + dst_bytes) - first
    target = -(-src_bytes // _ALIGN) * _ALIGN
    return 0, target, target + dst_bytes
