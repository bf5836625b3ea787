"""The same plan objects on four executors, as a program: `python -m tests.gpu.same_plans CACHE FOLDER`.

The host backend's, the device code compiled for CPUs in its own harness (`tests/device`), the CUDA backend's on its
double and the ROCm backend's on the stand-in. CACHE keeps the harness, FOLDER takes its files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from hal.interface.dtypes import DType, ReduceOp
from hal_collectives import Communicator, DeviceArray, run_local
from hal_collectives.algorithms import get

from ..collectives import plans
from ..device import machine
from ..device.machine import Array, Job, algorithm_job, job_of
from .shared import Seen

SIZE = 3
BACKENDS = ("host", "cuda", "rocm")
DOUBLES = {"cuda": "a double", "rocm": "stand-in"}
"""Words of the names of their devices."""


def jobs() -> list[Job]:
    """Memory, packets, loops with slots, several blocks, posts, switches, and a plan that maps its peers' buffers."""
    written = (plans.packets, plans.pipeline, plans.blocks, plans.ports)
    built = (get("all_reduce", name) for name in ("one_phase", "all_pairs_ll", "ring", "two_phase_mapped"))
    made = [algorithm_job(each, SIZE, 203, DType.INT32, ReduceOp.SUM) for each in built]
    switched = (plans.switched, plans.switched_ring)  # with multicast memory in the harness, without on the backends
    made += [job_of(make(SIZE), 256 * SIZE, DType.INT32, multicast=True) for make in switched]
    made += [algorithm_job(get("reduce_scatter", "staged"), SIZE, 203, DType.BFLOAT16, ReduceOp.SUM)]
    return made + [job_of(make(SIZE), 301, DType.BFLOAT16) for make in written]


def on_backend(backend: str, work: list[Job]) -> list[list[Array]]:
    """The output of each rank after each job."""

    def memory(comm: Communicator, count: int, dtype: DType) -> Array:
        made = comm.empty(count * dtype.itemsize, np.uint8)  # as bytes: bfloat16 has no name in the interface of arrays
        data: Array = np.asarray(Seen(made)) if isinstance(made, DeviceArray) else made
        return data.view(dtype.numpy)

    def rank(comm: Communicator) -> list[Array]:
        found = [name for name, word in DOUBLES.items() if word in comm.device.properties.name]
        assert found == [name for name in DOUBLES if name == backend]
        results = []
        for job in work:
            x = memory(comm, job.inputs[comm.rank].size, job.dtype)
            out = memory(comm, job.output_bytes()[comm.rank] // job.dtype.itemsize, job.dtype)
            x[:] = job.inputs[comm.rank]
            out.view(np.uint8)[:] = 0xA5
            call = comm.caller.group.load(job.plan, job.count, job.dtype, job.op, mapped=job.mapped)
            call.run(x.ctypes.data, x.nbytes, out.ctypes.data, out.nbytes, 60)
            results.append(out.copy())
        return results

    by_rank = run_local(SIZE, rank, backend=backend, timeout=60)
    return [[each[number] for each in by_rank] for number in range(len(work))]


def main(cache: Path, folder: Path) -> None:
    """Run them all; prints what is not alike."""
    work = jobs()
    harness = machine.build_driver(
        cache, [DType.INT32, DType.BFLOAT16], [ReduceOp.SUM, ReduceOp.MIN, ReduceOp.MAX, ReduceOp.AVG], level="-O0"
    )
    outcomes = machine.run(harness, work, folder)
    for job, outcome in zip(work, outcomes, strict=True):
        machine.check(job, outcome, job.mapped)
    on_cpus = [[launches[-1] for launches in outcome.outputs] for outcome in outcomes]
    wrong = []
    for name in BACKENDS:
        for job, wanted, got in zip(work, on_cpus, on_backend(name, work), strict=True):
            pairs = zip(wanted, got, strict=True)
            if not all(np.array_equal(a.view(np.uint8), b.view(np.uint8)) for a, b in pairs):
                wrong.append(f"{(job.mapped or job.plan).name} on {name}")
    print(f"{len(work)} plans, not alike: {', '.join(wrong) or 'none'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
