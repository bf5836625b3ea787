"""Any MPI library, through mpi4py with explicit types: the fastest way it offers from Python; or from C."""

from __future__ import annotations

import os

import numpy as np
from mpi4py import MPI

from benchmarks.host.adapters import Array, Call, Loop, partner, ping_pong, unknown
from benchmarks.host.adapters.mpi_from_c import MpiFromC
from benchmarks.host.contenders import FROM_C

LIBRARY_VARIABLE = "HAL_BENCH_MPI_LOOP"
"""Names the compiled loop in C, where there is one (see environment.py)."""


class Mpi:
    """`COMM_WORLD`."""

    def __init__(self) -> None:
        self._comm = MPI.COMM_WORLD
        self.rank, self.size = self._comm.rank, self._comm.size
        self.scattered_block = 0
        self.version = " ".join(MPI.Get_library_version().strip("\0").splitlines()[0].split(",")[0].split())
        compiled = os.environ.get(LIBRARY_VARIABLE)
        self._from_c = None if compiled is None else MpiFromC(compiled, self.rank, self.size)

    def allocate(self, kind: str, count: int) -> Array:
        """An array of NumPy's: MPI has no other kind that its collectives would treat differently."""
        return np.empty(count, np.float32)

    def calls(self, collective: str, source: Array, target: Array, *, in_place: bool, kind: str) -> list[Call]:
        """With `MPI.IN_PLACE` in place."""
        if kind == FROM_C:
            if self._from_c is None:
                raise ValueError("the loop in C is not compiled: neither headers nor a compiler, see the log")
            return self._from_c.calls(collective, source, target, in_place=in_place)
        comm, src, dst = self._comm, [source, MPI.FLOAT], [target, MPI.FLOAT]
        given = MPI.IN_PLACE if in_place else src
        match collective:
            case "all_reduce":
                return [(comm.Allreduce, (given, dst))]
            case "all_gather":
                return [(comm.Allgather, (given, dst))]
            case "reduce_scatter":
                return [(comm.Reduce_scatter_block, (given, src if in_place else dst))]
            case "broadcast":
                return [(comm.Bcast, (src, root)) for root in range(self.size)]
            case "reduce":
                return [
                    (comm.Reduce, (given, dst, MPI.SUM, root) if root == self.rank else (src, None, MPI.SUM, root))
                    for root in range(self.size)
                ]
            case "all_to_all":
                return [(comm.Alltoall, (given, dst))]
            case "send_recv":
                peer = partner(self.rank)
                return ping_pong(self.rank, (comm.Send, (src, peer)), (comm.Recv, (dst, peer)))
            case "barrier":
                return [(comm.Barrier, ())]
        raise unknown("MPI", collective, in_place)

    def loop(self, kind: str, source: Array, calls: list[Call]) -> Loop | None:
        """The loop in C, for its kind."""
        return self._from_c.loop(source, calls) if kind == FROM_C and self._from_c is not None else None

    def barrier(self) -> None:
        """MPI's own."""
        self._comm.Barrier()

    def close(self) -> None:
        """Leave the job, which waits for all ranks."""
        MPI.Finalize()


def join() -> Mpi:
    """Importing mpi4py has joined the job."""
    return Mpi()
