"""The executor: programs packed for the kernel of `hal.device`, one launch a collective."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import weakref
from typing import Any

from hal.device import ENTRY, Packed, kernel_source, pack
from hal.device import group as shared
from hal.gpu import report
from hal.gpu.device import GpuDevice
from hal.gpu.group import Group
from hal.gpu.lane import Failed, Lane
from hal.gpu.program import shared_kernel
from hal.interface.dtypes import ReduceOp
from hal.interface.errors import PlanError, UsageError
from hal.interface.executor import Call, Executable, Executor, Membership, check_pair
from hal.plan.lower import Program, uses_switches, walk
from hal.plan.model import Move, Plan
from hal.runtime.stall import Failure

_LONGEST_TIMEOUT = 1e9  # seconds
_INPUT, _TIMEOUT = 6, 10
"""Where in the kernel's arguments input and output begin, and the deadline."""
_ENDED_BADLY = (1 << shared.FAILURE_BITS) - 1


class GpuExecutable(Executable):
    """A collective bound to a lane: prepared arguments, of which a call changes the buffers alone."""

    def __init__(self, lane: Lane, call: Call, programs: list[Program]) -> None:
        self._lane = lane
        self._device = device = lane.device
        self._operation = call.collective.label
        self._plans = [program.plan for program in programs]
        self._itemsize = programs[0].dtype.itemsize
        packed = [_packed(lane, program) for program in programs]
        self._needs = (max(p.input_bytes for p in packed), max(p.output_bytes for p in packed))
        self._blocks = max(1, *(p.blocks for p in packed))
        ops = frozenset(op for program in programs for op in _ops(program.plan, program.op)) | {ReduceOp.SUM}
        switches = lane.multicast is not None and any(uses_switches(program.plan) for program in programs)
        source = kernel_source(programs[0].dtype, ops, multicast=switches)
        with device.current():
            kernel = shared_kernel(device.driver, device.index, device.found.architecture, source, ENTRY)
            with device.driver.doing("asking how many blocks fit"):
                fit = device.driver.occupancy(kernel.handle, device.settings.threads)
        self._threads = device.settings.threads
        self._check_residency(fit * device.found.multiprocessors)
        self._kernel = kernel.handle
        words = []
        for each in packed:
            data = each.words.tobytes()
            words.append(device.segment.allocate(len(data)))
            device.write(words[-1], data)
        self._captured = False
        self._finalizer = weakref.finalize(self, _retire, device, lane, words)
        self._finalizer.atexit = False
        self._arguments = (ctypes.c_uint64 * 12)(
            lane.group, words[0], words[1] if len(words) > 1 else 0,
            *(w & (1 << 64) - 1 for w in shared.call_key(call)),
            0, 0, 0, 0, 0, self._blocks,
        )  # fmt: skip
        base = ctypes.addressof(self._arguments)
        self._pointers = (ctypes.c_void_p * 12)(*(base + 8 * i for i in range(12)))
        self._pointers_at = ctypes.addressof(self._pointers)
        self._checked: tuple[int, ...] = ()

    def _check_residency(self, most: int) -> None:
        """Blocks of all ranks that are threads on this device wait for each other: all must be resident at once."""
        lane = self._lane
        own = lane.peers[lane.rank]
        local = [m for m, p in enumerate(lane.peers) if (p.pid, p.start, p.uuid) == (own.pid, own.start, own.uuid)]
        needed = sum(max(1, *(len(plan.ranks[m].blocks) for plan in self._plans)) for m in local)
        if needed > most:
            raise PlanError(
                f"plan {self._plans[0].name!r} needs {needed} blocks at once for {len(local)} ranks on "
                f"device {self._device.index}, which holds {most} of {self._threads} threads: use fewer "
                f"blocks, fewer ranks a device, or smaller blocks ({self._device.driver.section}.threads)",
                rank=self._world,
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Blocks, and threads of a block, of a launch."""
        return self._blocks, self._threads

    @property
    def _world(self) -> int:
        return self._lane.ranks[self._lane.rank]

    def _error(self, text: str) -> UsageError:
        return UsageError(text, rank=self._world, operation=self._operation)

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        """See `Executable.run`. It is not ordered with work on streams: the buffers hold what they are to hold."""
        lane = self._lane
        if not timeout > 0:
            raise self._error(f"the timeout is {timeout}: a number of seconds above 0 is needed")
        with lane.lock:
            self._prepare(src, src_bytes, dst, dst_bytes, timeout)
            driver = self._device.driver
            with self._device.current(), driver.doing("running a collective"):
                driver.stream_synchronize(lane.stream)  # what was enqueued elsewhere is ordered before it
                before = lane.launches
                self._launch(lane.stream)
                lane.wait(before + 1, min(timeout, _LONGEST_TIMEOUT))
                if lane.failed is None:
                    driver.stream_synchronize(lane.stream)
            if lane.failed is None and not lane.words[1] & _ENDED_BADLY:
                # where the others gave up before, nothing was left to wait for
                lane.failed = lane.told() or lane.with_parent(before + 1)
            self._raise()

    def enqueue(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float, stream: Any) -> None:
        """See `Executable.enqueue`. Executable and buffers have to outlive a graph that they are part of."""
        lane, device = self._lane, self._device
        if not timeout > 0:
            raise self._error(f"the timeout is {timeout}: a number of seconds above 0 is needed")
        try:
            chosen = device.stream(stream)
        except UsageError as error:
            raise self._error(error.message) from None
        driver, handle = device.driver, chosen.handle
        with lane.lock:
            if lane.words[1] & _ENDED_BADLY or lane.failed is not None:
                self._raise()
            self._prepare(src, src_bytes, dst, dst_bytes, timeout)
            with device.current(), driver.doing("enqueuing a collective"):
                if driver.capturing(handle):
                    self._captured = True
                    self._finalizer.detach()
                    self._launch(handle)
                    return
                order = lane.order()
                driver.event_record(order, lane.stream)
                driver.stream_wait(handle, order)
                self._launch(handle)
                driver.event_record(order, handle)
                driver.stream_wait(lane.stream, order)
            chosen.checks[id(self)] = self.check

    def check(self) -> None:
        """See `Executable.check`."""
        with self._lane.lock:
            self._raise()

    def _prepare(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        lane = self._lane
        if lane.closed or (lane.parent is not None and lane.parent.closed):
            raise self._error("this communicator is closed")
        if lane.failed is not None:
            self._raise()
        called = (src, src_bytes, dst, dst_bytes, self._device.segment.freed)
        if called != self._checked:
            sides = (("the input", src, src_bytes, self._needs[0]), ("the output", dst, dst_bytes, self._needs[1]))
            for what, address, nbytes, needed in sides:
                if nbytes < needed:
                    raise self._error(f"{what} has {nbytes} bytes, {needed} are needed")
                try:
                    self._device.check_buffer(what, address, nbytes, self._itemsize)
                except UsageError as error:
                    raise self._error(error.message) from None
            self._checked = called
            self._arguments[_INPUT : _INPUT + 4] = list(called[:4])
        self._arguments[_TIMEOUT] = max(1, int(min(timeout, _LONGEST_TIMEOUT) * 1e9))

    def _launch(self, stream: int) -> None:
        self._device.driver.launch(self._kernel, self._blocks, self._threads, self._pointers_at, stream)

    def _raise(self) -> None:
        """Raise what the last launch left behind, if anything."""
        lane = self._lane
        failed = lane.failed
        if failed is None:
            status = shared.status(bytes(lane.words))
            if status.mismatch:
                lane.words[1] = status.launch << shared.PHASE_BITS  # said once
                raise report.disagreement(lane, status.launch)
            if status.failure is Failure.NONE:
                return
            failed = lane.outer or lane.told() or Failed(status.failure, status.member, status.launch)
            lane.fail_with(failed)
        if lane.engine is not None and (broken := lane.engine.failed()) is not None:
            raise broken
        raise report.failure(lane, failed, self._plans[0] if len(self._plans) == 1 else None, self._operation)


class GpuExecutor(Executor):
    """Runs plans for one rank on one lane."""

    def __init__(self, lane: Lane, group: Group | None) -> None:
        self.lane = lane
        self.rank = lane.rank
        self.size = lane.size
        self._group = group
        self._pairs: dict[tuple[int, int], GpuExecutor] = {}
        self._lock = threading.Lock()

    @property
    def scratch_bytes(self) -> int:
        """See `Executor.scratch_bytes`."""
        return self.lane.layout.scratch_bytes

    def load(self, call: Call, program: Program, mapped: Program | None = None) -> GpuExecutable:
        """See `Executor.load`. `PlanError` where the blocks of all ranks on this device are too many for it."""
        return GpuExecutable(self.lane, call, [program] if mapped is None else [program, mapped])

    def pair(self, sender: int, receiver: int) -> GpuExecutor:
        """See `Executor.pair`."""
        if self._group is None:
            raise UsageError("the executor of a pair has no pairs of its own")
        check_pair(self.rank, self.size, sender, receiver)
        with self._lock:
            if self.lane.closed:
                raise UsageError("this communicator is closed", rank=self.rank)
            if (sender, receiver) not in self._pairs:
                self._pairs[sender, receiver] = GpuExecutor(self._group.pair_lane(self.lane, sender, receiver), None)
            return self._pairs[sender, receiver]

    def is_mapped(self, address: int, nbytes: int) -> bool:
        """See `Executor.is_mapped`."""
        return self.lane.device.segment.inside(address, nbytes)

    def abort(self) -> None:
        """See `Executor.abort`."""
        with self._lock:
            for lane in (self.lane, *(pair.lane for pair in self._pairs.values())):
                lane.abort()

    def close(self) -> None:
        """See `Executor.close`. A process that was forked has no part in the group, and leaves it to its parent."""
        if self.lane.device.segment.forked:
            return
        with self._lock:
            if self.lane.closed or self._group is None:
                return
            self._group.leave(self.lane, {ends: pair.lane for ends, pair in self._pairs.items()})


def connect(device: GpuDevice, membership: Membership) -> GpuExecutor:
    """Set up a group with its other members."""
    group = Group(device, membership)
    return GpuExecutor(group.lane(), group)


def _packed(lane: Lane, program: Program) -> Packed:
    """Posts go to the lane's copy engine, where it has one and the plan lets a proxy serve it."""
    scratch, multicast = lane.layout.scratch_bytes, lane.multicast is not None
    if lane.engine is not None:
        with contextlib.suppress(PlanError):
            return pack(program, lane.size, scratch, proxy=True, multicast=multicast)
    return pack(program, lane.size, scratch, multicast=multicast)


def _ops(plan: Plan, op: ReduceOp) -> set[ReduceOp]:
    """The operations of all ranks, so that all of them use one kernel."""
    moves = (i for rank in plan.ranks for block in rank.blocks for i in walk(block) if isinstance(i, Move))
    return {op if move.op is None else move.op for move in moves} | {op}


def _retire(device: GpuDevice, lane: Lane, words: list[int]) -> None:
    """Free a program. What was enqueued with it has ended, or frees with the lane."""
    with contextlib.suppress(KeyError, *device.driver.errors):
        if device.driver.stream_query(lane.stream):
            for address in words:
                device.segment.heap.free(address - device.segment.base)
