"""HAL's Communicator."""

from __future__ import annotations

import importlib.metadata

import numpy as np

import hal_collectives
from benchmarks.host.adapters import Array, Call, Loop, partner, ping_pong


class Hal:
    """The communicator of all ranks; `registered` memory is what `Communicator.empty` gives."""

    def __init__(self, comm: hal_collectives.Communicator) -> None:
        self._comm = comm
        self.rank, self.size = self._comm.rank, self._comm.size
        self.scattered_block = self.rank
        self.version = importlib.metadata.version("hal-collectives")

    def allocate(self, kind: str, count: int) -> Array:
        """An array of NumPy's, or one in registered memory."""
        return self._comm.empty(count, np.float32) if kind == "registered" else np.empty(count, np.float32)

    def calls(self, collective: str, source: Array, target: Array, *, in_place: bool, kind: str) -> list[Call]:
        """In place, and out of place with an `out`, as the caller says."""
        comm = self._comm
        if collective == "barrier":
            return [(comm.barrier, ())]
        if collective == "send_recv":
            peer = partner(self.rank)
            return ping_pong(self.rank, (comm.send, (source, peer)), (comm.recv, (target, peer)))
        function = getattr(comm, collective)
        # an `out` that is the input itself is what leaving it away means
        out = None if source is target and collective != "all_to_all" else target
        if collective == "broadcast":
            return [(function, (source, out, root)) for root in range(self.size)]
        if collective == "reduce":
            return [(function, (source, out, "sum", root)) for root in range(self.size)]
        return [(function, (source,) if out is None else (source, out))]

    def loop(self, kind: str, source: Array, calls: list[Call]) -> Loop | None:
        """Calls are made from Python."""
        return None

    def barrier(self) -> None:
        """HAL's own."""
        self._comm.barrier()

    def close(self) -> None:
        """Close the communicator."""
        self._comm.close()


def join() -> Hal:
    """Join through `hal_collectives.init`."""
    return Hal(hal_collectives.init())
