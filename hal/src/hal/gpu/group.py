"""The memory of a group, from its making by all members until nobody uses it any more."""

from __future__ import annotations

import collections

from hal.device.words import MOST_MEMBERS
from hal.gpu import segment
from hal.gpu.device import GpuDevice
from hal.gpu.engine import prepare
from hal.gpu.lane import Lane, Layout, Peer, note_lane
from hal.gpu.multicast import MulticastMemory
from hal.gpu.segment import Handle
from hal.interface.errors import UsageError
from hal.interface.executor import Membership

PAIR_SCRATCH = 1 << 19
"""Scratch of a launch on a pair's lane, as much as `staged` of send_recv takes. A rank keeps 4 MiB for each member."""


class Group:
    """A group's memory as one member sees it."""

    def __init__(self, device: GpuDevice, membership: Membership) -> None:
        if membership.size > MOST_MEMBERS:
            raise UsageError(f"a group of executor kernels has at most {MOST_MEMBERS} ranks, not {membership.size}")
        sweep()
        self.device, self.rank, self.size = device, membership.rank, membership.size
        self.ranks = membership.world_ranks
        self._wants = device.settings.multicast and self.size > 1  # one rank has nothing to switch
        self.main = Layout(self.size, device.settings.scratch_size // 2 // 256 * 256, apart=self._wants)
        self.multicast: MulticastMemory | None = None
        self.pairs = Layout(2, PAIR_SCRATCH)
        self._engine = device.settings.copies == "engine"
        if self._engine:
            prepare(device.driver)  # what it lacks is said before others count on this rank
        nbytes = self.main.nbytes + 2 * self.size * self.pairs.nbytes
        self.block = device.segment.allocate(nbytes)
        self.handles: list[Handle] = []
        self.bases: list[int] = []
        try:
            device.clear(self.block, nbytes)
            with device.current():
                own = device.segment.handle(self.block, nbytes).pack()
                said = membership.exchange(own + bytes([self._wants]))
                self.handles = [Handle.unpack(each[:-1], device.driver.section) for each in said]
                if len({each[-1] for each in said}) > 1:
                    raise UsageError(f"ranks differ in {device.driver.section}.multicast")
                if len({h.nbytes for h in self.handles}) > 1:
                    raise UsageError(f"ranks differ in {device.driver.section}.scratch_size")
                for handle in self.handles:
                    self.bases.append(segment.map_foreign(device.driver, handle, device.index))
            if self._wants:
                devices = [handle.uuid for handle in self.handles]
                self.multicast = MulticastMemory(device, membership, 4 * self.main.scratch_bytes, devices)
            membership.exchange(b"")  # nobody goes on, and perhaps ends, before all have mapped its memory
        except BaseException:
            self.free()
            raise

    def lane(self) -> Lane:
        """The lane of all members."""
        peers = [self._peer(m, 0) for m in range(self.size)]
        lane = Lane(self.device, self.rank, peers, self.ranks, self.main, multicast=self.multicast)
        if self._engine:
            try:
                lane.serve()
            except BaseException:
                self.leave(lane, {})
                raise
        return lane

    def pair_peers(self, sender: int, receiver: int) -> list[Peer]:
        """The ends of the lane from one member to another."""

        def place(other: int, way: int) -> int:
            return self.main.nbytes + (2 * other + way) * self.pairs.nbytes

        return [self._peer(sender, place(receiver, 0)), self._peer(receiver, place(sender, 1))]

    def pair_lane(self, lane: Lane, sender: int, receiver: int) -> Lane:
        """The lane from one member to another."""
        members = (sender, receiver)
        ranks = (self.ranks[sender], self.ranks[receiver])
        peers = self.pair_peers(sender, receiver)
        return Lane(self.device, int(self.rank == receiver), peers, ranks, self.pairs, lane, members)

    def _peer(self, member: int, offset: int) -> Peer:
        handle, base = self.handles[member], self.bases[member]
        return Peer(handle.pid, handle.start, handle.uuid, base + handle.offset + offset, base)

    def leave(self, lane: Lane, pairs: dict[tuple[int, int], Lane]) -> None:
        """Leave; the memory is freed once nobody uses it, at the latest with the process."""
        for other in range(self.size):
            for ends in ((self.rank, other), (other, self.rank)):
                if other != self.rank and ends not in pairs:
                    note_lane(self.device, self.pairs, self.pair_peers(*ends), int(ends[1] == self.rank), 0)
        for each in (*pairs.values(), lane):  # that of all comes last: from then on the others may free what they have
            each.leave()
        _leaving.append((self, lane, list(pairs.values())))
        sweep()

    def free(self) -> None:
        """Unmap the others' memory and free the own."""
        if self.multicast is not None:
            self.multicast.free()
        with self.device.current():
            while self.bases:
                self.bases.pop()
                segment.unmap_foreign(self.device.driver, self.handles[len(self.bases)], self.device.index)
        self.device.segment.free(self.block)


_leaving: collections.deque[tuple[Group, Lane, list[Lane]]] = collections.deque()


def sweep() -> None:
    """Free the memory of groups that every member has left."""
    for _ in range(len(_leaving)):
        try:
            group, lane, pairs = _leaving.popleft()
        except IndexError:  # another thread is at it
            return
        if lane.deserted():
            for each in (lane, *pairs):
                each.release()
            group.free()
        else:
            _leaving.append((group, lane, pairs))
