"""Every collective on arrays in device memory, by calls and by a graph; results are compared with NumPy's."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hal.interface.dtypes import DType
from hal_collectives import Communicator, init, run_local

COUNTS = (1, 7, 1024, 100_003)


def check(comm: Communicator, quick: bool) -> None:
    """All that one rank does."""
    dtypes = [DType.FLOAT32, DType.INT32] if quick else list(DType)
    counts: Sequence[int] = (7, 1024) if quick else COUNTS
    for dtype in dtypes:
        for count in counts:
            _collectives(comm, dtype, count)
    _streams(comm)
    if comm.rank == 0:
        print(f"{comm.size} ranks: {len(dtypes)} types, counts {', '.join(map(str, counts))}: all results exact")


def _collectives(comm: Communicator, dtype: DType, count: int) -> None:
    r, n = comm.rank, comm.size
    parts = [((np.arange(n * count) % 3) + k % 2).astype(dtype.numpy).reshape(n, count) for k in range(n)]
    total = np.sum([part.astype(np.float64) for part in parts], axis=0)
    mine = parts[r][0]
    x, blocks = comm.empty(count, dtype), comm.empty((n, count), dtype)
    calls: dict[str, tuple[Callable[[], Any], Any]] = {
        "all_reduce": (lambda: comm.all_reduce(x), total[0]),
        "broadcast": (lambda: comm.broadcast(x, root=n - 1), parts[n - 1][0]),
        "all_gather": (lambda: comm.all_gather(x), np.stack([part[0] for part in parts])),
        "reduce_scatter": (lambda: comm.reduce_scatter(blocks), total[r]),
        "all_to_all": (lambda: comm.all_to_all(blocks), np.stack([part[r] for part in parts])),
        "max": (lambda: comm.all_reduce(x, op="max"), np.max([p[0].astype(np.float64) for p in parts], axis=0)),
    }
    for name, (call, wanted) in calls.items():
        x.copy_from(mine)
        blocks.copy_from(parts[r])
        seen = call().numpy().astype(np.float64)
        if not np.array_equal(seen, np.asarray(wanted, np.float64).reshape(seen.shape)):
            raise SystemExit(f"rank {r}: {name} of {count} {dtype.label} is wrong: {seen} in place of {wanted}")
    comm.barrier()


def _streams(comm: Communicator) -> None:
    device = comm.device
    stream, x, start = device.create_stream(), comm.empty(1000, "float32"), comm.empty(1000, "float32")
    start.copy_from(np.full(1000, comm.rank + 1, np.float32))
    with stream.capture() as graph:
        device.copy(x.address, start.address, x.nbytes, stream)
        comm.on(stream).all_reduce(x)
        comm.on(stream).all_reduce(x)
    wanted = comm.size * sum(range(1, comm.size + 1))
    for _ in range(5):
        graph.launch(stream)
        stream.synchronize(60)
        comm.check()
        if not (x.numpy() == wanted).all():
            raise SystemExit(f"rank {comm.rank}: a graph gives {x.numpy()[:4]}, wanted is {wanted}")
    graph.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, help="ranks as threads of this process")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.threads:
        run_local(given.threads, check, given.quick, timeout=120)
    else:
        with init(timeout=120) as world:
            check(world, given.quick)
