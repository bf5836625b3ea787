"""The host's executor: a group's lanes in shared memory, and the native code that runs plans on them.

Each member contributes one block of its shared memory. It holds its part of the group's lane and of one lane for each
ordered pair of members, which carry `send` and `recv`. A lane's part is its control block, counters and
scratch, which is as large again for packets.
"""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from hal.interface.errors import UsageError
from hal.interface.executor import Call, CallShape, Executable, Executor, FastCalls, Membership, check_pair
from hal.plan.lower import Program
from hal.plan.model import Plan
from hal.runtime.heap import PAGE
from hal_host import _native, report, segment, single_copy
from hal_host.claims import claims
from hal_host.going_on import goes_on
from hal_host.links import Links, reads_others
from hal_host.recording import Recording
from hal_host.segment import Handle, Segment
from hal_host.settings import HostSettings

PAIR_SCRATCH = 2 << 20
"""Scratch of a pair's lane, both halves, on each side; packets have as much again."""

FIRST_LAUNCH = 0
_LONGEST_TIMEOUT = 1e9  # seconds

Recorded: TypeAlias = tuple[Recording, int]
"""Where what runs on a lane is recorded, and the number of the lane there."""


class HostExecutable(Executable):
    """A collective bound to a lane."""

    def __init__(
        self,
        lane: _native.Lane,
        ranks: tuple[int, ...],
        parent: HostExecutor | None,
        call: Call,
        any_: Program,
        mapped: Program | None,
        recorded: Recorded | None = None,
        single_copy: bool = False,
    ):
        self._lane = lane
        self._ranks = ranks
        self._parent = None if parent is None else (parent.lane, parent.ranks)
        # the words are needed no more once they are decoded
        self._plans = (any_.plan, None if mapped is None else mapped.plan)
        self._operation = call.collective.label
        self.native = _native.Executable(
            lane,
            call.collective,
            call.dtype,
            call.op,
            call.root,
            call.count,
            call.plan,
            _decoded(lane, any_),
            None if mapped is None else _decoded(lane, mapped),
            single_copy,
            call.pays_in_place,
        )
        self._recorded = recorded
        if recorded is not None:
            recording, number = recorded
            self.native.number = recording.add_source(number, self._operation, *self._plans)

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        """See `Executable.run`."""
        if not timeout > 0:
            what = f"the timeout is {timeout}: a number of seconds above 0 is needed"
            raise UsageError(what, rank=self._ranks[self._lane.rank], operation=self._operation)
        try:
            status = self.native.run(src, src_bytes, dst, dst_bytes, nanoseconds(timeout))
        except RuntimeError as error:
            raise UsageError(str(error), rank=self._ranks[self._lane.rank], operation=self._operation) from None
        if status:
            self.fail(status)

    def fail(self, status: int) -> None:
        """Raise what a native status other than 0 stands for."""
        if (why := self._lane.unusable) is not None:  # closed meanwhile by another thread: what happened is gone
            raise UsageError(why, rank=self._ranks[self._lane.rank], operation=self._operation)
        if status == 1:
            raise report.disagreement(self._lane, self._ranks)
        if self._recorded is not None:
            self._recorded[0].flush()  # the caller may not get to closing anything
        chosen = self._plans[1] if self.native.ran_mapped and self._plans[1] else self._plans[0]
        raise report.failure(self._lane, chosen, self._ranks, self._operation, self._parent)


class HostFastCalls:
    """See `hal.interface.executor.FastCalls`."""

    def __init__(self) -> None:
        self._native = _native.FastCalls()
        self.clear = self._native.clear

    @property
    def enabled(self) -> bool:
        """Whether `run` looks at all."""
        return self._native.enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._native.enabled = value

    def front(self, slow: Callable[..., Any], rank: int, shape: CallShape) -> Callable[..., Any]:
        """See `FastCalls.front`."""
        flags = (shape.in_place, shape.source_at_root, shape.target_at_root)
        return self._native.front(slow, rank, shape.parameters, *flags)

    def remember(self, source: Any, target: Any, op: object, root: int, executable: Executable, timeout: float) -> None:
        """Let `executable` serve arguments of this shape."""
        assert isinstance(executable, HostExecutable)
        self._native.remember(source, target, op, root, executable, executable.native, nanoseconds(timeout))

    def bind(
        self,
        executable: Executable,
        src: int,
        src_bytes: int,
        dst: int,
        dst_bytes: int,
        timeout: float,
        result: Any,
        slow: Callable[[], Any],
    ) -> Callable[[], Any]:
        """See `FastCalls.bind`."""
        assert isinstance(executable, HostExecutable)
        ends = (src, src_bytes, dst, dst_bytes)
        return self._native.bind(executable, executable.native, *ends, nanoseconds(timeout), result, slow)


class HostExecutor(Executor):
    """Runs plans for one rank on one lane."""

    keeps_apart = True

    def __init__(
        self,
        lane: _native.Lane,
        ranks: tuple[int, ...],
        settings: HostSettings,
        *,
        group: Group | None = None,
        parent: HostExecutor | None = None,
        recording: Recording | None = None,
    ) -> None:
        self.lane = lane
        self.rank = lane.rank
        self.size = lane.size
        self.ranks = ranks
        self._settings = settings
        self._group = group
        self._parent = parent
        self._pairs: dict[tuple[int, int], HostExecutor] = {}
        self._lock = threading.RLock()
        self._closed = False
        self._recording = recording
        self._recorded = None if recording is None else (recording, recording.add_lane(lane, ranks))

    @property
    def scratch_bytes(self) -> int:
        """See `Executor.scratch_bytes`."""
        return self.lane.scratch_bytes

    def load(self, call: Call, program: Program, mapped: Program | None = None) -> HostExecutable:
        """See `Executor.load`."""
        home = self if self._parent is None else self._parent
        if home._group is not None and home._group.links is not None:
            home._group.reads_others |= reads_others(program.plan)
            mapped = mapped if self._all_here() else None  # no memory of other hosts is mapped
        least = None if home._group is None else home._group.single_copy
        single = mapped is not None and single_copy.serves(call, mapped.plan, least)
        return HostExecutable(self.lane, self.ranks, self._parent, call, program, mapped, self._recorded, single)

    def stretches(self, plan: Plan) -> bool:
        """See `Executor.stretches`."""
        return self.lane.roams and not claims(plan).all

    def fast_calls(self) -> FastCalls:
        """See `Executor.fast_calls`."""
        return HostFastCalls()

    def pair(self, sender: int, receiver: int) -> HostExecutor:
        """See `Executor.pair`."""
        if self._group is None:
            raise UsageError("the executor of a pair has no pairs of its own")
        check_pair(self.rank, self.size, sender, receiver)
        with self._lock:
            if self._closed:
                raise UsageError("this communicator is closed", rank=self.rank)
            key = (sender, receiver)
            if key not in self._pairs:
                lane = self._group.pair_lane(self.lane, sender, receiver)
                ranks = (self.ranks[sender], self.ranks[receiver])
                self._pairs[key] = HostExecutor(lane, ranks, self._settings, parent=self, recording=self._recording)
            return self._pairs[key]

    def _all_here(self) -> bool:
        """Whether all members share a host."""
        return not self.lane.linked

    def is_mapped(self, address: int, nbytes: int) -> bool:
        """See `Executor.is_mapped`."""
        if not self._all_here():
            return False
        arena = segment.own(self._settings.segment_size).arena
        return arena.base <= address and address + nbytes <= arena.base + arena.nbytes

    def abort(self) -> None:
        """See `Executor.abort`."""
        if not self._closed:
            self.lane.fail(report.Failure.ABORTED, self.rank)  # the pairs' lanes fail with it

    def close(self) -> None:
        """See `Executor.close`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            pairs = [pair.lane for pair in self._pairs.values()]
        if self._group is not None:
            self._group.leave(self.lane, pairs)
        if self._recording is not None:
            self._recording.flush()


class Group:
    """A group's shared memory as one member sees it: where each member's block lies, mapped here."""

    def __init__(self, membership: Membership, settings: HostSettings) -> None:
        self.rank, self.size = membership.rank, membership.size
        self.settings = settings
        self.segment: Segment = segment.own(settings.segment_size)
        self.scratch = settings.scratch_size // 2 // PAGE * PAGE
        self.main_bytes = _pages(_native.lane_bytes(self.size, self.scratch))
        self.pair_bytes = _pages(_native.lane_bytes(2, PAIR_SCRATCH // 2))
        nbytes = self.main_bytes + 2 * self.size * self.pair_bytes
        self.reads_others = False  # whether some plan reads others' scratch
        self.block = self.segment.allocate(nbytes, zero=True)
        own = self.segment.handle(self.block, nbytes)
        self.handles: list[Handle] = []
        self.bases: list[int] = []
        self.mapped: list[Handle] = []
        self.links: Links | None = None
        try:
            self.handles = [Handle.unpack(h) for h in membership.exchange(own.pack())]
            if len({h.nbytes for h in self.handles}) > 1:
                sizes = ", ".join(
                    f"rank {r}: {h.nbytes}" for r, h in zip(membership.world_ranks, self.handles, strict=True)
                )
                raise UsageError(f"ranks differ in host.scratch_size; bytes of their blocks are {sizes}")
            remote = membership.transports or (None,) * self.size
            for handle, transport in zip(self.handles, remote, strict=True):
                self.bases.append(0 if transport else segment.map_foreign(handle))
                if not transport:
                    self.mapped.append(handle)
            if any(remote):
                self.links = Links(membership, self.segment, self.block, nbytes)
            # nobody goes on, and perhaps ends, before all have mapped its memory
            least = 0 if any(remote) else settings.single_copy
            able = not any(remote) and self.size <= (settings.processors or os.sysconf("SC_NPROCESSORS_ONLN"))
            self.roams = all(word == b"1" for word in membership.exchange(b"1" if able else b"0"))
            self.single_copy = single_copy.agree(membership, self.handles if least else (), least)
        except BaseException:
            # nobody has a lane yet, so that nobody touches this block any more
            self.free()
            raise

    def lane(self) -> _native.Lane:
        """The lane of all members."""
        ends = [self._end(member, 0) for member in range(self.size)]
        settings = self.settings
        return _native.Lane(
            self.rank,
            ends,
            self.segment.arena.nbytes,
            self.scratch,
            FIRST_LAUNCH,
            settings.spin,
            settings.yields,
            self.links.native if self.links else [],
            self.roams,
        )

    def pair_lane(self, lane: _native.Lane, sender: int, receiver: int) -> _native.Lane:
        """The lane from one member to another. `lane`, that of all, tells which of them live."""
        ends = [
            self._end(sender, self.main_bytes + (2 * receiver) * self.pair_bytes),
            self._end(receiver, self.main_bytes + (2 * sender + 1) * self.pair_bytes),
        ]
        links = [self.links.native[member] for member in (sender, receiver)] if self.links else []
        return lane.child([sender, receiver], int(self.rank == receiver), ends, PAIR_SCRATCH // 2, links)

    def _end(self, member: int, place: int) -> tuple[int, int, int]:
        handle, base = self.handles[member], self.bases[member]
        if self.links and (mirror := self.links.mirrors.get(member)):
            return mirror + place, self.segment.arena.base, 0
        return base + handle.offset + place, base, handle.pid

    def leave(self, lane: _native.Lane, pairs: list[_native.Lane]) -> None:
        """Leave; the memory is freed once nobody uses it, at the latest with the process."""
        # that of all comes last: from then on the others may free what they have
        for each in (*pairs, lane):
            each.leave()
        if self.links:
            self.links.close(lane, self.reads_others)
        _leaving.append((self, lane))
        sweep()

    def free(self) -> None:
        """Unmap the others' memory and free the own."""
        if self.links:
            self.links.free()
        while self.mapped:
            segment.unmap_foreign(self.mapped.pop())
        self.segment.free(self.block)


_leaving: collections.deque[tuple[Group, _native.Lane]] = collections.deque()
"""Groups that this process has left and whose memory other members may still read."""


def sweep() -> None:
    """Free the memory of groups that every member has left. Called from finalizers too: it takes no lock."""
    for _ in range(len(_leaving)):
        try:
            entry = _leaving.popleft()
        except IndexError:  # another thread is at it
            return
        if entry[1].deserted():
            entry[0].free()
        else:
            _leaving.append(entry)


def connect(membership: Membership, settings: HostSettings, recording: Recording | None = None) -> HostExecutor:
    """Set up a group with its other members."""
    sweep()
    group = Group(membership, settings)
    return HostExecutor(group.lane(), membership.world_ranks, settings, group=group, recording=recording)


def _decoded(lane: _native.Lane, program: Program) -> _native.Program:
    claimed = claims(program.plan)
    return _native.Program(
        lane,
        program.blocks,
        program.semaphores,
        program.dtype,
        program.channel_slots,
        program.maps_input,
        program.maps_output,
        program.plan.in_place,
        lane.scratch_bytes if program.scratch_reach is None else program.scratch_reach,
        [] if lane.linked else claimed.moves[lane.rank],
        not claimed.all,
        goes_on(program.plan),
    )


def nanoseconds(timeout: float) -> int:
    """A timeout of any length, infinity included, as the native part takes it."""
    return max(1, int(min(timeout, _LONGEST_TIMEOUT) * 1e9))


def _pages(nbytes: int) -> int:
    return -(-nbytes // PAGE) * PAGE
