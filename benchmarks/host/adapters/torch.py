"""torch.distributed with its backend for CPUs, gloo."""

from __future__ import annotations

import os

import numpy as np
import torch
import torch.distributed as dist

from benchmarks.host.adapters import Array, Call


class Gloo:
    """The default process group; tensors share the memory of NumPy arrays."""

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        meeting = os.environ["HAL_BENCH_MEETING"]
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=self.rank, world_size=self.size)
        self.version = f"torch {torch.__version__}"

    def allocate(self, kind: str, count: int) -> Array:
        """An array of NumPy's."""
        return np.empty(count, np.float32)

    def calls(self, collective: str, source: Array, target: Array) -> list[Call]:
        """The synchronous forms."""
        src, dst = torch.from_numpy(source), torch.from_numpy(target)
        match collective:
            case "all_reduce":
                return [(dist.all_reduce, (dst,))]
            case "all_gather":
                return [(dist.all_gather_into_tensor, (dst, src))]
            case "reduce_scatter":
                return [(dist.reduce_scatter_tensor, (dst, src))]
            case "broadcast":
                return [(dist.broadcast, (src, root)) for root in range(self.size)]
            case "all_to_all":
                return [(dist.all_to_all_single, (dst, src))]
            case "barrier":
                return [(dist.barrier, ())]
        raise ValueError(f"no collective {collective!r}")

    def barrier(self) -> None:
        """gloo's own."""
        dist.barrier()

    def close(self) -> None:
        """Leave the group."""
        dist.destroy_process_group()


def join() -> Gloo:
    """Join through the file that the launcher names."""
    return Gloo()
