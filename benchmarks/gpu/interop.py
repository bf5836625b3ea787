"""Tensors and streams of PyTorch, ranks as threads on one device. Status 77: it is not here, or not for this device."""

from __future__ import annotations

import sys
from typing import Any

from hal_collectives import Communicator, run_local


def check(comm: Communicator, torch: Any) -> None:
    """All that one rank does."""
    kind = torch.accelerator.current_accelerator().type
    accelerator = getattr(torch, kind)
    stream = accelerator.Stream()
    with accelerator.stream(stream):
        for dtype in (torch.float32, torch.bfloat16, torch.int64):
            x = torch.full((1000,), comm.rank + 1, dtype=dtype, device=kind)
            comm.all_reduce(x)  # waits for what torch has under way
            comm.on(stream).all_reduce(x)
            x += 1
            stream.synchronize()
            comm.check()
            total = comm.size * sum(range(1, comm.size + 1)) + 1
            if not bool((x == total).all()):
                raise SystemExit(f"rank {comm.rank}: {dtype}: {x[:4]} in place of {total}")
    shared = comm.empty(16, "bfloat16")
    tensor = torch.from_dlpack(shared)
    tensor.fill_(3)
    accelerator.synchronize()
    comm.all_reduce(shared)
    if not bool((tensor == 3 * comm.size).all()):
        raise SystemExit(f"rank {comm.rank}: a tensor on an array of `empty` holds {tensor}")
    if comm.rank == 0:
        print("tensors in place, on streams and on arrays of `empty`: all results exact")


if __name__ == "__main__":
    try:
        import torch as found
    except ImportError as error:
        print(error)
        sys.exit(77)
    if not found.accelerator.is_available():
        print("this torch sees no device")
        sys.exit(77)
    run_local(2, check, found, timeout=120)
