"""What the ranks of a group share: a segment of each rank, in which all parts lie that `hal.device.group` describes.

The segment is fresh for each group, and so all zero, as the kernel needs it; and it stays until the last rank has
detached it, so that a late store of a rank that is still at its call meets no memory that serves something else by now.

Behind the parts of the group lie those of each pair that this rank is one of, sender or receiver. Nobody else needs to
be asked when a pair is first used, and what is not touched takes no memory.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from hal.device import group
from hal.device.words import MOST_MEMBERS
from hal.interface.errors import HalError, NotSupported, PeerFailure, UsageError
from hal.interface.executor import Membership
from hal.runtime.stall import Failure
from hal_sysv import segment
from hal_sysv.process import Process
from hal_sysv.segment import HEAD, WORDS, Name, Segment

_PAGE = 4096
_STOP = WORDS
"""The word of a rank's segment that says why its group has failed: the code of `Failure`, and a rank above it."""
_CARD = struct.Struct("=I16sQI16sQIQQ")


@dataclass(frozen=True)
class Part:
    """Where the memory of one executor lies in the segment of a rank."""

    control: int
    local: int
    host: int
    group: int
    left: int
    """A word that is not 0 when the rank has closed the executor."""
    scratch: int
    end: int

    @classmethod
    def after(cls, begin: int, members: int, scratch_bytes: int) -> Part:
        """The part of an executor of so many members, from `begin` on; `scratch_bytes` are those of one launch."""
        places = []
        for nbytes in (group.control_bytes(members), group.LOCAL_BYTES, 128, 64 + 24 * MOST_MEMBERS):
            places.append(begin)
            begin += -(-nbytes // 128) * 128
        scratch = -(-begin // _PAGE) * _PAGE
        end = -(-(scratch + 4 * scratch_bytes) // _PAGE) * _PAGE  # two halves, and two for packets
        control, local, host, group_at = places
        return cls(control, local, host, group_at, host + 64, scratch, end)


Ends = tuple[int, ...]
"""The ranks of the group that are members of an executor: all, or sender and receiver."""


def table(rank: int, size: int, scratch_bytes: int) -> dict[Ends, Part]:
    """All parts in the segment of a rank."""
    everybody = tuple(range(size))
    parts = {everybody: Part.after(HEAD, size, scratch_bytes)}
    at = parts[everybody].end
    for other in everybody:
        for ends in ((rank, other), (other, rank)) if other != rank else ():
            # a group of two is a pair in one direction as well, and its executors are apart all the same
            key = (-1, *ends)
            parts[key] = Part.after(at, 2, scratch_bytes)
            at = parts[key].end
    return parts


class Shared:
    """A rank's view of the memory of its group."""

    def __init__(
        self, membership: Membership, process: Process, own: Segment, scratch_bytes: int, arena: Segment
    ) -> None:
        self.rank, self.size, self.world = membership.rank, membership.size, membership.world_ranks
        self.scratch_bytes = scratch_bytes
        self.arena = arena
        self.tables = [table(rank, self.size, scratch_bytes) for rank in range(self.size)]
        self.segments: list[Segment] = []
        self.arenas: list[Segment] = []
        self.processes: list[Process] = []
        self._own, self._process = own, process
        self._lock = threading.Lock()
        self._attached = True

    def connect(self, cards: Sequence[bytes]) -> None:
        """Attach the memory of all members."""
        for rank, data in enumerate(cards):
            if len(data) != _CARD.size:
                raise UsageError("the ranks of a group have different versions of the backend sysv", rank=self.own)
            words = _CARD.unpack(data)
            if words[8] != self.scratch_bytes:
                raise UsageError(
                    f"ranks {self.own} and {self.world[rank]} have a different `sysv.scratch_size`", rank=self.own
                )
            self.processes.append(Process(words[6], words[7]))
            if rank == self.rank:
                self.segments.append(self._own)
                self.arenas.append(self.arena)
                continue
            try:
                self.segments.append(segment.attach(Name(*words[:3])))
                self.arenas.append(segment.attach(Name(*words[3:6])))
            except segment.GoneError as error:
                peer = self.world[rank]
                raise PeerFailure(f"rank {peer} has left: {error}", rank=self.own, peer=peer) from error

    def card(self) -> bytes:
        """What the others need of this rank."""
        names = (field for one in (self._own.name, self.arena.name) for field in (one.id, one.token, one.size))
        return _CARD.pack(*names, self._process.pid, self._process.began, self.scratch_bytes)

    @property
    def own(self) -> int:
        """This rank's number in the job."""
        return self.world[self.rank]

    def stop(self, failure: Failure, about: int) -> None:
        """Tell every member why the group has failed, and which of its ranks that is about. The first word stands."""
        with self._lock:
            for one in self.segments if self._attached else ():
                word = one.word(_STOP)
                if not word.value:
                    word.value = int(failure) | about << 8

    def stopped(self) -> tuple[Failure, int] | None:
        """Why the group has failed, and which rank that is about; None while it has not."""
        word = self._own.word(_STOP).value
        return (Failure(word & 0xFF), word >> 8) if word else None

    def lives(self, rank: int) -> bool:
        """Whether the process of a member runs."""
        return self.processes[rank] == self._process or self.processes[rank].alive()

    def detach(self) -> None:
        """Let go of all memory but the device's own."""
        with self._lock:
            self._attached = False
            for rank, one in enumerate(self.arenas):
                if rank != self.rank:
                    one.detach()
            for one in {*self.segments, self._own}:
                one.detach()


def join(membership: Membership, process: Process, arena: Segment, scratch_bytes: int) -> Shared:
    """Make this rank's segment, and meet the others; returns when all have attached everything."""
    if membership.size > MOST_MEMBERS:
        raise NotSupported(f"{membership.size} ranks: groups of the backend sysv have {MOST_MEMBERS} at most")
    nbytes = max(part.end for part in table(membership.rank, membership.size, scratch_bytes).values())
    shared = Shared(membership, process, segment.create(nbytes - HEAD), scratch_bytes, arena)
    try:
        shared.connect(membership.exchange(shared.card()))
        membership.exchange(b"")  # nobody may leave before all have attached
    except HalError:
        shared.detach()
        raise
    return shared
