"""Channels over a copy engine or a network adapter, which moves the data while threads do other things."""

from __future__ import annotations

from hal.channels import plans
from hal.channels.binding import Pair
from hal.interface.device import Memory


class PortChannel(Pair):
    """Asynchronous transfers between this rank's memory and `peer`'s. Both ends name equally many bytes."""

    def post(self, source: Memory, *, flush: bool = True, timeout: float | None = None) -> None:
        """Put `source` to where the peer `accept`s it, followed by a signal. Both ends say the same of `flush`.

        With `flush` the put is complete on return. Without, it is complete when this call of the executor is: the
        transfer then ends with the call too, but the plan does not wait for it by itself.
        """
        self._send(plans.post(flush), source, timeout, plans.nothing())

    def accept(self, target: Memory, *, flush: bool = True, timeout: float | None = None) -> None:
        """Let the peer `post` to `target`; its data is there on return."""
        self._receive(plans.post(flush), target, timeout, plans.nothing())
