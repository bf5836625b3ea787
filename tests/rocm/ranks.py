"""What ranks on the ROCm backend do, as a program: `python -m tests.rocm.ranks WHAT SIZE SEED SHARE [COLLECTIVE …]`."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import cast

from hal.interface.dtypes import DType, ReduceOp
from hal_collectives import Communicator, init, run_local

from ..collectives.calling import Jobs, run_all, shown
from ..collectives.cases import MOVING, REDUCING, Case, matrix
from ..collectives.oracle import Job
from ..gpu.shared import OnADouble

FEW = {DType.INT32: {ReduceOp.SUM, ReduceOp.MAX}, DType.BFLOAT16: {ReduceOp.SUM}}
"""Types and operations that need few kernels."""


def cases(size: int, seed: int, share: float, collectives: Sequence[str] = ()) -> list[Case]:
    """Cases of these collectives or of every one, for few types where `share` is below 1 and then so many of them."""
    # new outputs, and the counts that the `_v` forms exchange, are memory of the host, which devices do not reach
    collectives = collectives or [name for name in (*REDUCING, *MOVING) if not name.endswith("_v")]
    found = [case for case in matrix(collectives, memories=["registered"]) if case.place != "new"]
    if share < 1:
        found = [case for case in found if case.op in FEW.get(case.dtype, ())]
    return random.Random(seed).sample(found, int(len(found) * share)) if share < 1 else found


def run_here(comm: Communicator, jobs: Jobs) -> list[str]:
    """Run all cases."""
    return run_all(cast(Communicator, OnADouble(comm)), jobs)


class OwnJobs(Jobs):
    """The jobs of a rank that shares its process with no other."""

    def take(self, number: int) -> Job:
        """The job of a case."""
        self._made.clear()
        return super().take(number)


def main(what: str, size: int, seed: int, share: float, collectives: Sequence[str]) -> None:
    """Run a share of the matrix on ranks that are threads, or as one of them."""
    chosen = cases(size, seed, share, collectives)
    if what == "threads":
        problems = shown(run_local(size, run_here, Jobs(chosen, size, seed), timeout=60))
    else:
        with init() as comm:
            problems = "\n".join(run_here(comm, OwnJobs(chosen, comm.size, seed)))
    print(f"{len(chosen)} cases, wrong: {problems or 'none'}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5:])
