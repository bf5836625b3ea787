"""torch.distributed with its backend for CPUs, gloo."""

from __future__ import annotations

import os

import numpy as np
import torch
import torch.distributed as dist

from benchmarks.host.adapters import Array, Call, Loop, partner, ping_pong, unknown


class Gloo:
    """The default process group; tensors share the memory of NumPy arrays."""

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.scattered_block = self.rank
        meeting = os.environ["HAL_BENCH_MEETING"]
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=self.rank, world_size=self.size)
        self.version = f"torch {torch.__version__}"

    def allocate(self, kind: str, count: int) -> Array:
        """An array of NumPy's."""
        return np.empty(count, np.float32)

    def calls(self, collective: str, source: Array, target: Array, *, in_place: bool, kind: str) -> list[Call]:
        """The synchronous forms; it has all_reduce, broadcast and reduce in place alone, the others out of place."""
        src, dst = torch.from_numpy(source), torch.from_numpy(target)
        match collective, in_place:
            case "all_reduce", True:
                return [(dist.all_reduce, (dst,))]
            case "all_gather", _:
                return [(dist.all_gather_into_tensor, (dst, src))]
            case "reduce_scatter", _:
                return [(dist.reduce_scatter_tensor, (dst, src))]
            case "broadcast", True:
                return [(dist.broadcast, (src, root)) for root in range(self.size)]
            case "reduce", True:
                return [(dist.reduce, (dst, root)) for root in range(self.size)]
            case "all_to_all", False:
                return [(dist.all_to_all_single, (dst, src))]
            case "send_recv", False:
                peer = partner(self.rank)
                return ping_pong(self.rank, (dist.send, (src, peer)), (dist.recv, (dst, peer)))
            case "barrier", _:
                return [(dist.barrier, ())]
        raise unknown("gloo", collective, in_place)

    def loop(self, kind: str, source: Array, calls: list[Call]) -> Loop | None:
        """Calls are made from Python."""
        return None

    def barrier(self) -> None:
        """gloo's own."""
        dist.barrier()

    def close(self) -> None:
        """Leave the group."""
        dist.destroy_process_group()


def join() -> Gloo:
    """Join through the file that the launcher names."""
    return Gloo()
