"""Channels for kernels of one's own, as the bytes that a kernel reads.

Each class has the layout of the C++ structure of the same name; copy `pack()` to device memory and give the kernel its
address. Addresses are those by which the rank that runs the kernel reaches the memory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class SemaphoreEnd:
    """`Semaphore` in semaphore.h: four 8-byte words of memory, zero before the first signal."""

    there: int
    """The counter that this end raises, in the peer's memory: the peer's `here`."""
    here: int
    """The counter that the peer raises, in this rank's memory."""
    sent: int
    """This end's count of signals sent, in this rank's memory."""
    taken: int
    """This end's count of signals waited for, in this rank's memory."""

    def pack(self) -> bytes:
        """The bytes of the structure."""
        return struct.pack("=4Q", self.there, self.here, self.sent, self.taken)


@dataclass(frozen=True)
class MemoryChannel:
    """`MemoryChannel` in memory_channel.h. What is not used may be 0."""

    semaphore: SemaphoreEnd
    local: int
    """This rank's memory, from which `put` takes and to which `get` brings."""
    remote: int
    """The peer's, as mapped here."""
    inbox: int = 0
    """Where the peer's packets arrive, in this rank's memory, zero at first."""
    outbox: int = 0
    """The peer's inbox, as mapped here."""

    def pack(self) -> bytes:
        """The bytes of the structure."""
        return self.semaphore.pack() + struct.pack("=4Q", self.local, self.remote, self.inbox, self.outbox)


@dataclass(frozen=True)
class PortChannel:
    """`PortChannel` in port_channel.h."""

    semaphore: SemaphoreEnd
    queue: int
    """The address of a `Queue` in device memory (`queue`)."""
    peer: int
    local: int
    remote: int

    def pack(self) -> bytes:
        """The bytes of the structure."""
        return self.semaphore.pack() + struct.pack("=4Q", self.queue, self.peer, self.local, self.remote)


TRIGGER_BYTES = 64
"""Bytes of a trigger in a queue: ticket, kind, peer, source, destination, bytes, counter, value; 8 each."""


def queue(ring: int, capacity: int, head: int, done: int) -> bytes:
    """The bytes of a `Queue` (port_channel.h).

    `capacity` triggers at `ring` and the word `done` lie in host memory that the device reaches, the word `head` in
    device memory; all are zero at first. The proxy carries out trigger n (from 1) when the ticket of
    `ring[(n - 1) % capacity]` is n, and then sets `done` to n.
    """
    return struct.pack("=4Q", ring, capacity, head, done)
