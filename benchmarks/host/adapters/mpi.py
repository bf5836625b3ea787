"""Any MPI library, through mpi4py with explicit types: the fastest way it offers."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from benchmarks.host.adapters import Array, Call


class Mpi:
    """`COMM_WORLD`."""

    def __init__(self) -> None:
        self._comm = MPI.COMM_WORLD
        self.rank, self.size = self._comm.rank, self._comm.size
        self.version = " ".join(MPI.Get_library_version().strip("\0").splitlines()[0].split(",")[0].split())

    def allocate(self, kind: str, count: int) -> Array:
        """An array of NumPy's: MPI has no other kind that its collectives would treat differently."""
        return np.empty(count, np.float32)

    def calls(self, collective: str, source: Array, target: Array) -> list[Call]:
        """With `MPI.IN_PLACE` where source and target are one."""
        comm, src, dst = self._comm, [source, MPI.FLOAT], [target, MPI.FLOAT]
        match collective:
            case "all_reduce":
                return [(comm.Allreduce, (MPI.IN_PLACE, dst))]
            case "all_gather":
                return [(comm.Allgather, (src, dst))]
            case "reduce_scatter":
                return [(comm.Reduce_scatter_block, (src, dst))]
            case "broadcast":
                return [(comm.Bcast, (src, root)) for root in range(self.size)]
            case "all_to_all":
                return [(comm.Alltoall, (src, dst))]
            case "barrier":
                return [(comm.Barrier, ())]
        raise ValueError(f"no collective {collective!r}")

    def barrier(self) -> None:
        """MPI's own."""
        self._comm.Barrier()

    def close(self) -> None:
        """Leave the job, which waits for all ranks."""
        MPI.Finalize()


def join() -> Mpi:
    """Importing mpi4py has joined the job."""
    return Mpi()
