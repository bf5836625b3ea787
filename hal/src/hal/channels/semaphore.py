"""Signals between two ranks."""

from __future__ import annotations

from hal.channels import plans
from hal.channels.binding import Pair


class Semaphore(Pair):
    """Signals between this rank and `peer`, in both directions.

    A `signal` releases what this rank wrote before it, the `wait` of the other end acquires it. `relaxed` on both ends
    leaves that order open.
    """

    def signal(self, *, relaxed: bool = False, timeout: float | None = None) -> None:
        """Signal the peer, which waits."""
        self.run(plans.signal(relaxed), None, None, pair=self._out, timeout=timeout)

    def wait(self, *, relaxed: bool = False, timeout: float | None = None) -> None:
        """Wait for a signal of the peer; `StallTimeout` where none comes before the deadline."""
        self.run(plans.signal(relaxed), None, None, pair=self._in, timeout=timeout)
