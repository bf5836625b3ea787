"""HAL's Communicator."""

from __future__ import annotations

import importlib.metadata

import numpy as np

import hal_collectives
from benchmarks.host.adapters import Array, Call


class Hal:
    """The communicator of all ranks; `registered` memory is what `Communicator.empty` gives."""

    def __init__(self, comm: hal_collectives.Communicator) -> None:
        self._comm = comm
        self.rank, self.size = self._comm.rank, self._comm.size
        self.version = importlib.metadata.version("hal-collectives")

    def allocate(self, kind: str, count: int) -> Array:
        """An array of NumPy's, or one in registered memory."""
        return self._comm.empty(count, np.float32) if kind == "registered" else np.empty(count, np.float32)

    def calls(self, collective: str, source: Array, target: Array) -> list[Call]:
        """In place, and out of place with an `out`, as the caller says."""
        comm = self._comm
        if collective == "broadcast":
            return [(comm.broadcast, (source, None, root)) for root in range(self.size)]
        if collective == "barrier":
            return [(comm.barrier, ())]
        function = getattr(comm, collective)
        return [(function, (source,) if source is target else (source, target))]

    def barrier(self) -> None:
        """HAL's own."""
        self._comm.barrier()

    def close(self) -> None:
        """Close the communicator."""
        self._comm.close()


def join() -> Hal:
    """Join through `hal_collectives.init`."""
    return Hal(hal_collectives.init())
