"""Multicast memory: scratch of all members of a group that has one more address, which stands for that of all.

A store to that address reaches every member, a load returns the sum of what all have. Each member makes its part and
binds it to one object, which the first member makes; handles go from process to process as file descriptors.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hal.gpu.descriptors import Inbox, close
from hal.interface.capability import Capability
from hal.interface.errors import BackendUnavailable, HalError, NotSupported, UsageError

if TYPE_CHECKING:
    from hal.gpu.device import GpuDevice
    from hal.interface.executor import Membership


class MulticastCalls(abc.ABC):
    """A driver's calls for multicast memory, of one device. Handles and addresses are integers.

    They raise one of `Driver.errors` where the driver refuses. Sizes are multiples of `granularity`.
    """

    @abc.abstractmethod
    def granularity(self, members: int, nbytes: int) -> int:
        """Of what sizes are multiples, of memory and of an object of so many members for `nbytes`; a power of two."""

    @abc.abstractmethod
    def memory(self, nbytes: int) -> int:
        """Memory of this device, as a handle that can be exported."""

    @abc.abstractmethod
    def object(self, members: int, nbytes: int) -> int:
        """An object to which so many devices bind `nbytes` of memory each, as a handle that can be exported."""

    @abc.abstractmethod
    def add(self, handle: int) -> None:
        """Make this device one of an object's. All are added before the first binds memory."""

    @abc.abstractmethod
    def bind(self, handle: int, memory: int, nbytes: int) -> None:
        """Let an object stand for memory of this device, from its beginning."""

    @abc.abstractmethod
    def unbind(self, handle: int, nbytes: int) -> None:
        """Take back `bind`."""

    @abc.abstractmethod
    def export(self, handle: int) -> int:
        """A new file descriptor, from which another process makes a handle of its own."""

    @abc.abstractmethod
    def imported(self, descriptor: int) -> int:
        """A handle of what another process exported; the descriptor may be closed."""

    @abc.abstractmethod
    def map(self, handle: int, nbytes: int, unit: int) -> int:
        """The address, a multiple of `unit`, at which this device reads and writes what a handle stands for."""

    @abc.abstractmethod
    def unmap(self, address: int, nbytes: int) -> None:
        """Take back `map`."""

    @abc.abstractmethod
    def release(self, handle: int) -> None:
        """Give back a handle. What it stands for lasts as long as it is mapped, or other handles of it are held."""


class MulticastMemory:
    """The multicast memory of a group, as one member sees it. All members make it together."""

    def __init__(self, device: GpuDevice, membership: Membership, nbytes: int, devices: Sequence[bytes]) -> None:
        """Of at least `nbytes` for each member, zero; `devices` are the members', each by a name of its own.

        Where one member cannot, all raise: `NotSupported` or `BackendUnavailable`, `UsageError` where two members are
        on one device.
        """
        self._device = device
        self._setting = f"{device.driver.section}.multicast = true"
        self._membership = membership
        self._size = membership.size
        self._inbox: Inbox | None = None
        self._object = 0
        self._bound = False
        self._unit = 0
        self._exported: list[int] = []
        self._handles = [0] * self._size
        self.nbytes = nbytes
        self.address = 0
        """Where the memory of all members lies together."""
        self.members = [0] * self._size
        """Where that of each lies, as mapped here."""
        try:
            with device.current():
                self._make(devices)
        except BaseException:
            self.free()
            raise
        finally:
            self._close()

    def _make(self, devices: Sequence[bytes]) -> None:
        """Each step is begun when all members have ended the one before."""
        sizes = self._all("asking for the sizes of multicast memory", self._measure)
        self.nbytes = max(int.from_bytes(size, "little") for size in sizes)
        if len(set(devices)) < self._size:
            raise UsageError(f"{self._setting} needs a device for each rank: two ranks are on one device")
        addresses = self._all("making multicast memory", self._open)
        self._all("taking the others' multicast memory", lambda: self._take(addresses))
        self._all("binding multicast memory", self._bind)
        self._all("mapping multicast memory", self._map)

    @property
    def _calls(self) -> MulticastCalls:
        found = self._device.multicast
        if found is None:
            raise NotSupported(
                f"device {self._device.index} ({self._device.found.name}) lacks the capability "
                f"{Capability.MULTICAST.value}"
            )
        return found

    def _all(self, what: str, step: Callable[[], bytes]) -> list[bytes]:
        """What a step returns on each member; an error on all where it fails on one."""
        failure: HalError | None = None
        try:
            with self._device.driver.doing(what):
                said = b"+" + step()
        except HalError as error:
            failure, said = error, b"-" + error.message.encode()
        answers = self._membership.exchange(said)
        for rank, answer in zip(self._membership.world_ranks, answers, strict=True):
            if answer[:1] != b"+":
                kind = BackendUnavailable if failure is None else type(failure)
                raise kind(f"{self._setting}: rank {rank}: {answer[1:].decode(errors='replace')}") from failure
        return [answer[1:] for answer in answers]

    def _measure(self) -> bytes:
        self._unit = unit = self._calls.granularity(self._size, self.nbytes)
        return (-(-self.nbytes // unit) * unit).to_bytes(8, "little")

    def _open(self) -> bytes:
        calls, rank = self._calls, self._membership.rank
        self._handles[rank] = calls.memory(self.nbytes)
        self._exported.append(calls.export(self._handles[rank]))
        if rank == 0:
            self._object = calls.object(self._size, self.nbytes)
            self._exported.append(calls.export(self._object))
        try:
            self._inbox = Inbox()
        except OSError as error:
            raise BackendUnavailable(f"no socket to pass handles by: {error}") from error
        return self._inbox.address

    def _take(self, addresses: Sequence[bytes]) -> bytes:
        calls, membership = self._calls, self._membership
        assert self._inbox is not None
        received = self._inbox.exchange(membership.rank, addresses, self._exported, membership.timeout)
        try:
            for member, descriptors in received.items():
                if len(descriptors) != 1 + (member == 0):
                    raise BackendUnavailable(f"{len(descriptors)} handles came from rank {member}")
                self._handles[member] = calls.imported(descriptors[0])
                if member == 0:
                    self._object = calls.imported(descriptors[1])
        finally:
            for descriptors in received.values():
                close(descriptors)
        calls.add(self._object)
        return b""

    def _bind(self) -> bytes:
        self._calls.bind(self._object, self._handles[self._membership.rank], self.nbytes)
        self._bound = True
        return b""

    def _map(self) -> bytes:
        calls = self._calls
        for member, handle in enumerate(self._handles):
            self.members[member] = calls.map(handle, self.nbytes, self._unit)
        self.address = calls.map(self._object, self.nbytes, self._unit)
        self._device.clear(self.members[self._membership.rank], self.nbytes)
        return b""

    def _close(self) -> None:
        close(self._exported)
        self._exported.clear()
        if self._inbox is not None:
            self._inbox.close()

    def free(self) -> None:
        """Give it back; no member uses it any more. What the driver refuses is left to the end of the process."""
        calls = self._device.multicast
        if calls is None:
            return
        refused = contextlib.suppress(*self._device.driver.errors)
        with self._device.current():
            if self._bound:
                with refused:
                    calls.unbind(self._object, self.nbytes)
            for address, handle in ((self.address, self._object), *zip(self.members, self._handles, strict=True)):
                with refused:
                    if address:
                        calls.unmap(address, self.nbytes)
                with refused:
                    if handle:
                        calls.release(handle)
        self._bound, self.address, self._object = False, 0, 0
        self.members, self._handles = [0] * self._size, [0] * self._size
