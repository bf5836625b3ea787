"""A lane: the memory in which the executor kernels of some ranks meet, and this rank's part in running them.

A group has one lane of all its members and one of two members for each ordered pair, which carries messages. Each
member's part of a lane lies in one block of its segment, which the others map.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from hal.device import group as shared
from hal.device.channels import TRIGGER_BYTES, queue
from hal.device.group import MemberMemory
from hal.device.words import MOST_MEMBERS
from hal.gpu.device import GpuDevice
from hal.gpu.engine import CAPACITY, RING_BYTES, CopyEngine
from hal.gpu.multicast import MulticastMemory
from hal.interface.errors import BackendUnavailable
from hal.runtime import processes
from hal.runtime.stall import Failure

TICK = 0.05
"""Seconds between looks at whether the other ranks live."""
GRACE = 1.0
"""Seconds for what a rank that has died did before to take effect."""
LATE = 5.0
"""Seconds beyond the deadline after which a kernel is told to end, and as many more until it is given up."""
_SPINS = 200


def _rounded(nbytes: int) -> int:
    return -(-nbytes // 256) * 256


@dataclass(frozen=True)
class Layout:
    """Where the parts of a lane lie in a member's share of it."""

    members: int
    scratch_bytes: int
    """Of one launch, and as many for packets."""
    apart: bool = False
    """Whether scratch lies elsewhere."""

    @property
    def notes(self) -> int:
        """Words that members write when they leave, one each: launches that they have ended, and one."""
        return _rounded(shared.control_bytes(self.members))

    @property
    def local(self) -> int:
        """The part of this rank alone."""
        return self.notes + _rounded(8 * self.members)

    @property
    def group(self) -> int:
        """What `hal.device.group.pack_group` makes."""
        return self.local + _rounded(shared.LOCAL_BYTES)

    @property
    def queue(self) -> int:
        """What `hal.device.channels.queue` makes."""
        return self.group + _rounded(64 + 24 * MOST_MEMBERS)

    @property
    def scratch(self) -> int:
        """Two halves, and two for packets."""
        return self.queue + 256

    @property
    def nbytes(self) -> int:
        """All of it."""
        return self.scratch + (0 if self.apart else 4 * self.scratch_bytes)


@dataclass(frozen=True)
class Peer:
    """A member of a lane."""

    pid: int
    start: int
    uuid: bytes
    place: int
    """Its share of the lane, as mapped here."""
    segment: int
    """Its segment, as mapped here."""


@dataclass(frozen=True)
class Failed:
    """Why a lane can be used no more."""

    kind: Failure
    member: int
    """Whom it is about: of this lane, or of the parent's where `outer`."""
    launch: int
    outer: bool = False


@dataclass
class Lane:
    """This rank's part. `rank` counts within the lane, `ranks` are what messages call the members."""

    device: GpuDevice
    rank: int
    peers: Sequence[Peer]
    ranks: tuple[int, ...]
    layout: Layout
    parent: Lane | None = None
    members: tuple[int, ...] = ()
    """Where there is a parent: which members of it these are."""
    failed: Failed | None = None
    outer: Failed | None = None
    """That the parent has failed, which ended the current launch."""
    closed: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)
    _dead: dict[int, float] = field(default_factory=dict)
    _order: int = 0
    multicast: MulticastMemory | None = None
    """Where scratch lies that is multicast memory."""
    engine: CopyEngine | None = None
    """What serves its port channels, once `serve` was called."""
    _ring: int = 0
    _copies: int = 0

    def __post_init__(self) -> None:
        self.size = len(self.peers)
        device, segment = self.device, self.device.segment
        self.place = self.peers[self.rank].place
        with device.current():
            self.stream = segment.take_stream()
        self.host = segment.allocate_host(shared.HOST_BYTES)
        self.words = (ctypes.c_uint64 * 2).from_address(self.host)
        self.words[0] = self.words[1] = 0
        apart = self.multicast
        scratch = apart.members if apart else [p.place + self.layout.scratch for p in self.peers]
        ends = [MemberMemory(p.place, at, p.segment) for p, at in zip(self.peers, scratch, strict=True)]
        packed = shared.pack_group(
            self.rank,
            ends,
            scratch_bytes=self.layout.scratch_bytes,
            arena_bytes=segment.nbytes,
            host=self.host,
            local=self.place + self.layout.local,
            queue=self.place + self.layout.queue,
            multicast=apart.address if apart else 0,
        )
        self.group = self.place + self.layout.group
        device.write(self.group, packed)

    def serve(self) -> None:
        """Have a copy engine serve the queue of port channels. `BackendUnavailable` as `CopyEngine` says."""
        device, segment = self.device, self.device.segment
        self._ring = ring = segment.allocate_host(RING_BYTES)
        ctypes.memset(ring, 0, RING_BYTES)
        head = self.place + self.layout.local + shared.QUEUE_HEAD
        device.write(self.place + self.layout.queue, queue(ring, CAPACITY, head, ring + CAPACITY * TRIGGER_BYTES))
        with device.current(), device.driver.doing("setting up a copy engine"):
            self._copies = segment.take_stream()
            told = shared.abort_word(Failure.ABORTED, self.rank)
            abort = self.host + shared.ABORT
            self.engine = CopyEngine(device.driver, stream=self._copies, ring=ring, abort=abort, abort_value=told)

    def order(self) -> int:
        """The event that orders launches on different streams. The device is current."""
        if not self._order:
            self._order = self.device.driver.event_create(timed=False)
        return self._order

    @property
    def launches(self) -> int:
        """Launches that have ended."""
        return int(self.words[1]) >> shared.PHASE_BITS

    def control(self, member: int | None = None) -> bytes:
        """A member's control block, as it is now."""
        place = self.place if member is None else self.peers[member].place
        return self.device.read(place, shared.control_bytes(self.size))

    def alive(self, member: int) -> bool:
        """Whether a member's process runs."""
        return processes.alive(self.peers[member].pid, self.peers[member].start)

    def wait(self, launch: int, timeout: float) -> None:
        """Return when a launch has ended, well or not. It ends by its own deadline; ranks that die end it sooner."""
        began = time.monotonic()
        tick, told, spins, nap = began + TICK, False, 0, 2e-5
        while self.launches < launch:
            spins += 1
            time.sleep(0 if spins < _SPINS else nap)
            if spins < _SPINS:
                continue
            nap = min(nap * 1.2, 1e-3)
            now = time.monotonic()
            if now < tick:
                continue
            tick = now + TICK
            if not told and (why := self._doomed(launch, now)) is not None:
                self.words[0], told = why, True
            if now - began > timeout + LATE and not told:
                self.words[0], told = shared.abort_word(Failure.STALL, self.rank), True
            if now - began > timeout + 2 * LATE:
                self.failed = Failed(Failure.STALL, self.rank, launch)
                return
            try:
                with self.device.current(), self.device.driver.doing("a kernel of the executor has failed"):
                    ended = self.device.driver.stream_query(self.stream)
            except BackendUnavailable:
                self.failed = Failed(Failure.ABORTED, self.rank, launch)
                raise
            if ended and self.launches < launch:
                self.failed = Failed(Failure.ABORTED, self.rank, launch)
                raise BackendUnavailable("a kernel of the executor has ended without a word")

    def _doomed(self, launch: int, now: float) -> int | None:
        """The word that ends a launch which cannot end well any more."""
        self.outer = self.with_parent(launch)
        if self.outer is not None:
            return shared.abort_word(self.outer.kind, self.rank)
        notes = self.notes()
        for member in range(self.size):
            if member == self.rank:
                continue
            left = notes[member]
            if left and left - 1 < launch:
                return shared.abort_word(Failure.PEER_DIED, member)
            if not left and not self.alive(member) and now - self._dead.setdefault(member, now) > GRACE:
                return shared.abort_word(Failure.PEER_DIED, member)
        return None

    def with_parent(self, launch: int) -> Failed | None:
        """Why the parent has failed, and so this lane, or None."""
        outer = None if self.parent is None else self.parent.failed or self.parent.told()
        return None if outer is None else Failed(outer.kind, outer.member, launch, outer=True)

    def told(self) -> Failed | None:
        """Why the others say that this lane has failed, or None."""
        found = shared.failure(self.device.read(self.place, shared.failure_at(self.size, self.size)), self.size)
        return None if found is None else Failed(*found)

    def notes(self) -> list[int]:
        """Of each member that has left: launches that it ended, and one; 0 of others."""
        return list(memoryview(self.device.read(self.place + self.layout.notes, 8 * self.size)).cast("Q"))

    def abort(self) -> None:
        """Make this lane fail for all members. Waits for nothing."""
        self._fail(Failure.ABORTED, self.rank)

    def fail_with(self, failed: Failed) -> None:
        """Know that this lane has failed, and have its parent fail with it."""
        self.failed = failed
        self._halt()
        if self.parent is not None and not failed.outer:
            self.parent._fail(failed.kind, self.members[failed.member])

    def _fail(self, failure: Failure, member: int) -> None:
        if self.closed or self.failed is not None:
            return
        word = shared.abort_word(failure, member)
        launch = self.launches + 1
        self.words[0] = word
        self.failed = Failed(failure, member, launch)  # a kernel that need not wait would not notice
        self._halt()
        told = (word | launch << shared.PHASE_BITS).to_bytes(8, "little")
        at = shared.failure_at(self.size, self.rank)
        for peer in self.peers:
            with contextlib.suppress(BackendUnavailable):  # where the device has failed, the others find out without
                self.device.write(peer.place + at, told)

    def _halt(self) -> None:
        if self.engine is not None:
            self.engine.halt()

    def leave(self) -> None:
        """Tell the others that this rank is gone: from then on nothing of it reaches their memory."""
        if self.engine is not None:
            self.engine.close()
        note_lane(self.device, self.layout, self.peers, self.rank, self.launches)
        self.closed = True

    def deserted(self) -> bool:
        """Whether all members have left or died. Of a device that has failed that is not known."""
        try:
            notes = self.notes()
        except BackendUnavailable:
            return False
        return all(notes[m] or m == self.rank or not self.alive(m) for m in range(self.size))

    def release(self) -> None:
        """Give back what the device lent."""
        segment = self.device.segment
        segment.return_stream(self.stream)
        segment.free_host(self.host)
        if self._ring:
            segment.free_host(self._ring)
        if self._copies:
            segment.return_stream(self._copies)
        if self._order:
            with contextlib.suppress(*self.device.driver.errors):
                self.device.driver.event_destroy(self._order)


def note_lane(device: GpuDevice, layout: Layout, peers: Sequence[Peer], rank: int, launches: int) -> None:
    """Write to each member's share of a lane that `rank` has left it after so many launches."""
    note = (launches + 1).to_bytes(8, "little")
    for peer in peers:
        with contextlib.suppress(BackendUnavailable):  # where the device has failed, the others find out without
            device.write(peer.place + layout.notes + 8 * rank, note)
