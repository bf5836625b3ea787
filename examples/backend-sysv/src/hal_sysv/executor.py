"""The executor: HAL's portable kernel, launched for each call, and watched by the host while it runs.

Waiting, order, deadlines and agreement are the kernel's. What it cannot know the host tells it by the word `abort`:
that a rank is dead or has left, and that somebody has given the group up.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import numpy as np

from hal.device import ENTRY, group, kernel_source, pack
from hal.device.group import MemberMemory, call_key
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import BackendUnavailable, PlanError, StallTimeout, UsageError
from hal.interface.executor import Call, Executable, Executor, Membership, check_pair
from hal.plan.lower import Program
from hal.plan.model import Plan
from hal.runtime.stall import Failure
from hal_sysv.compiler import ONE_LANE
from hal_sysv.failure import Seat, disagreement, error_of
from hal_sysv.module import Kernel
from hal_sysv.shared import Shared, join

if TYPE_CHECKING:
    from hal_sysv.device import SysvDevice

LOOK = 0.02
"""Seconds between two looks at the others while a kernel runs."""
_LONGEST = 1 << 62


def create_executor(device: SysvDevice, membership: Membership) -> SysvExecutor:
    """The executor of a group; all members call it."""
    scratch_bytes = device.settings.scratch_size // 2 // 128 * 128
    shared = join(membership, device.process, device.segment, scratch_bytes)
    return SysvExecutor(device, shared, tuple(range(shared.size)), None)


class SysvExecutor(Executor):
    """The executor of a group, or of a pair of its ranks."""

    def __init__(
        self, device: SysvDevice, shared: Shared, members: tuple[int, ...], whole: SysvExecutor | None
    ) -> None:
        key = members if whole is None else (-1, *members)
        parts = [shared.tables[member][key] for member in members]
        self.rank, self.size = members.index(shared.rank), len(members)
        self.device = device
        self._shared = shared
        self._whole = whole
        self._pairs: dict[tuple[int, int], SysvExecutor] = {}
        self._seat = Seat(shared, members, parts, self.rank)
        self._stream = device.create_stream()
        self._lock = threading.RLock()
        self._closed = False
        own, part = shared.segments[shared.rank], parts[self.rank]
        self._host, self._abort, self._left = part.host, own.word(part.host + group.ABORT), own.word(part.left)
        self.group_address = own.base + part.group
        self._pack_group()

    def _pack_group(self) -> None:
        seat, shared = self._seat, self._shared
        memories = [
            MemberMemory(shared.segments[m].base + part.control, shared.segments[m].base + part.scratch, arena.base)
            for m, part, arena in zip(seat.members, seat.parts, (shared.arenas[m] for m in seat.members), strict=True)
        ]
        own, part = shared.segments[shared.rank], seat.parts[self.rank]
        packed = group.pack_group(
            self.rank,
            memories,
            scratch_bytes=shared.scratch_bytes,
            arena_bytes=shared.arena.name.size,
            host=own.base + part.host,
            local=own.base + part.local,
        )
        own.view(part.group, len(packed))[:] = packed

    @property
    def scratch_bytes(self) -> int:
        """Half of the setting `scratch_size`: launches alternate between two halves."""
        return self._shared.scratch_bytes

    def load(self, call: Call, program: Program, mapped: Program | None = None) -> SysvExecutable:
        """Pack the programs, and compile the kernel for their type where it was not compiled before."""
        self._check_open()
        for one in (program, *([] if mapped is None else [mapped])):
            if (one.plan.size, one.rank) != (self.size, self.rank):
                raise PlanError(
                    f"plan {one.plan.name!r} was lowered for rank {one.rank} of {one.plan.size}, and this is rank "
                    f"{self.rank} of {self.size}"
                )
        return SysvExecutable(self, call, program, mapped)

    def kernel(self, dtype: DType) -> Kernel:
        """The executor kernel for a type, with all operations: one compilation for each type, kept for good."""
        ops = [op for op in ReduceOp if not (op.is_bitwise and dtype.is_float)]
        kernel: Kernel = getattr(self.device.compile(kernel_source(dtype, ops), [ONE_LANE]), ENTRY)
        return kernel

    def run(self, executable: SysvExecutable, src: int, src_bytes: int, dst: int, dst_bytes: int, ns: int) -> None:
        """Launch the kernel, and return or raise when it has ended."""
        with self._lock:
            self._check_open()
            seat, call, shared = self._seat, executable.call, self._shared
            launch = seat.launches(self.rank) + 1
            plan = executable.plan_for(self.is_mapped(src, src_bytes) and self.is_mapped(dst, dst_bytes))
            if cause := shared.stopped():
                raise error_of(seat, cause, call, plan, launch)
            arguments = [self.group_address, *executable.words, *call_key(call), src, src_bytes, dst, dst_bytes, ns]
            self.device.launch(executable.kernel, executable.blocks, 1, [*arguments, executable.blocks], self._stream)
            self._await(launch)
            told = group.failure(seat.control(self.rank), self.size)
            status = group.status(bytes(shared.segments[shared.rank].view(self._host, group.HOST_BYTES)))
            if status.mismatch:
                raise disagreement(seat, call, launch)
            if status.failure is Failure.NONE and (told is None or told[2] > launch):
                return
            failure, member = told[:2] if told is not None else (status.failure, status.member)
            shared.stop(failure, seat.members[member])
            raise error_of(seat, shared.stopped() or (failure, seat.members[member]), call, plan, launch)

    def _await(self, launch: int) -> None:
        """Wait for the kernel, and look at the others meanwhile."""
        try:
            while True:
                with contextlib.suppress(StallTimeout):
                    self._stream.synchronize(LOOK)
                    return
                gone = self._seat.missing(launch)
                if gone is not None:
                    self._end_launch(Failure.PEER_DIED, gone)
                elif self._shared.stopped():
                    self._end_launch(Failure.ABORTED, self.rank)
        except BaseException:  # it was not launched, or the user has interrupted it: the others must not wait
            self._shared.stop(Failure.ABORTED, self._shared.rank)
            self._end_launch(Failure.ABORTED, self.rank)
            with contextlib.suppress(StallTimeout, BackendUnavailable):
                self._stream.synchronize(10)
            raise

    def _end_launch(self, failure: Failure, member: int) -> None:
        if not self._abort.value:
            self._abort.value = group.abort_word(failure, member)

    def pair(self, sender: int, receiver: int) -> SysvExecutor:
        """The executor of a pair, made at its first use; its memory is there from the beginning."""
        ranks = (sender, receiver)
        check_pair(self.rank, self.size, sender, receiver)
        if self._whole is not None:
            raise UsageError("the executor of a pair has no pairs of its own", rank=self._shared.own)
        with self._lock:
            self._check_open()
            if ranks not in self._pairs:
                self._pairs[ranks] = SysvExecutor(self.device, self._shared, ranks, self)
            return self._pairs[ranks]

    def is_mapped(self, address: int, nbytes: int) -> bool:
        """Whether it is memory of `allocate`."""
        return nbytes == 0 or self.device.is_allocated(address, nbytes)

    def abort(self) -> None:
        """Tell all members, whose hosts look at it while they wait."""
        if not self._closed:
            self._shared.stop(Failure.ABORTED, self._shared.rank)

    def close(self) -> None:
        """Say that this rank has left, end what it is at, and let go of the memory."""
        if self._closed:
            return
        self._closed = True
        self._left.value = 1
        self._end_launch(Failure.ABORTED, self.rank)
        with self._lock:
            for one in self._pairs.values():
                one.close()
            self._stream.close()
            if self._whole is None:
                self._shared.detach()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the executor is closed", rank=self._shared.own)


class SysvExecutable(Executable):
    """Programs as the kernel reads them, for one call."""

    def __init__(self, executor: SysvExecutor, call: Call, program: Program, mapped: Program | None) -> None:
        self._executor = executor
        self.call = call
        self._plans = [one.plan for one in (program, mapped) if one is not None]
        packed = [pack(one, executor.size, executor.scratch_bytes) for one in (program, mapped) if one is not None]
        self._kept = [np.ascontiguousarray(one.words) for one in packed]
        self.words = [int(one.ctypes.data) for one in self._kept] + [0] * (mapped is None)
        self.blocks = max(1, *(one.blocks for one in packed))
        self._needs = (max(one.input_bytes for one in packed), max(one.output_bytes for one in packed))
        self.kernel = executor.kernel(program.dtype)

    def plan_for(self, mapped: bool) -> Plan:
        """The plan that runs where buffers are mapped, or are not."""
        return self._plans[-1 if mapped else 0]

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        """Check what can be checked on this rank alone, and run it."""
        rank = self._executor._shared.own
        if not timeout > 0:
            raise UsageError(f"a timeout is above 0 seconds, not {timeout}", rank=rank)
        for what, given, needed in (("input", src_bytes, self._needs[0]), ("output", dst_bytes, self._needs[1])):
            if given < needed:
                raise UsageError(f"the {what} has {given} bytes, and {needed} are needed", rank=rank)
        ns = min(int(min(timeout, 1e9) * 1e9), _LONGEST)
        self._executor.run(self, src, src_bytes, dst, dst_bytes, ns)
