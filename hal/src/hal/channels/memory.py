"""Channels over mapped memory: threads load from the peer's memory and store to it, plainly or in packets."""

from __future__ import annotations

from hal.channels import plans
from hal.channels.binding import Pair
from hal.interface.device import Memory


class MemoryChannel(Pair):
    """Transfers between this rank's memory and `peer`'s, which is mapped. Both ends name equally many bytes."""

    def put(self, source: Memory, *, timeout: float | None = None) -> None:
        """Store `source` to the memory that the peer `accept`s into."""
        self._send(plans.put(), source, timeout, plans.nothing())

    def accept(self, target: Memory, *, timeout: float | None = None) -> None:
        """Let the peer `put` to `target`; its data is there on return."""
        self._receive(plans.put(), target, timeout, plans.nothing())

    def get(self, target: Memory, *, timeout: float | None = None) -> None:
        """Load what the peer `offer`s into `target`."""
        self._receive(plans.get(), target, timeout, plans.nothing())

    def offer(self, source: Memory, *, timeout: float | None = None) -> None:
        """Let the peer `get` from `source`, which it has done on return."""
        self._send(plans.get(), source, timeout, plans.nothing())


class PacketChannel(Pair):
    """Transfers in packets, data and flag together, through scratch: short messages without a signal.

    A message takes twice its length of the scratch of the two ranks; `PlanError` for one that does not fit.
    """

    def put(self, source: Memory, *, timeout: float | None = None) -> None:
        """Send `source` in packets; it may be changed on return."""
        self._send(plans.packets(), source, timeout, None)

    def accept(self, target: Memory, *, timeout: float | None = None) -> None:
        """Receive the packets of the peer into `target`."""
        self._receive(plans.packets(), target, timeout, None)
