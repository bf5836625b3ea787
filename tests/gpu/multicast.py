"""Switch channels in multicast memory, as a program: `python -m tests.gpu.multicast WHAT`; ranks are processes.

The double of CUDA's library says how often kernels used multicast memory, and what of it was not given back.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from hal.gpu import group
from hal.gpu.descriptors import Inbox
from hal.interface.capability import Capability
from hal.interface.dtypes import DType
from hal.interface.errors import HalError
from hal.plan.model import Plan
from hal_collectives import Communicator, DeviceArray, init

from ..collectives import plans

library = ctypes.CDLL("libcuda.so.1")
RANK = int(os.environ.get("HAL_RANK", "0"))


def all_reduce(comm: Communicator, plan: Plan, count: int) -> int:
    """Run it several times; the sums are exact. How often kernels of this rank used multicast memory."""
    before = library.double_asked()
    x, out = comm.empty(count, np.int32), comm.empty(count, np.int32)
    assert isinstance(x, DeviceArray)
    assert isinstance(out, DeviceArray)
    call = comm.caller.group.load(plan, count, DType.INT32)
    for turn in range(3):
        values = [(np.arange(count) * (rank + 2) + turn).astype(np.int32) for rank in range(comm.size)]
        x.copy_from(values[comm.rank])
        call.run(x.address, x.nbytes, out.address, out.nbytes, 30)
        assert (out.numpy() == sum(values)).all(), plan.name
    return int(library.double_asked() - before)


def used(comm: Communicator) -> None:
    """Plans with switch channels use it, others do not, and all of it is given back."""
    assert (Capability.MULTICAST in comm.device.capabilities) == (os.environ.get("DOUBLE_MULTICAST") == "1")
    size = comm.size
    asked = [all_reduce(comm, plans.switched(size, loads), 256 * size) for loads in (True, False)]
    asked.append(all_reduce(comm, plans.switched_ring(size), 192 * size))
    asked.append(all_reduce(comm, plans.packets(size), 256))
    with comm.split(0, size - comm.rank) as part:  # a group with multicast memory of its own
        asked.append(all_reduce(part, plans.switched(size), 256 * size))
    x = comm.empty(1000, np.int32)
    assert isinstance(x, DeviceArray)
    x.copy_from(np.full(1000, comm.rank, np.int32))
    comm.all_reduce(x)
    assert (x.numpy() == size * (size - 1) // 2).all()
    print(f"rank {comm.rank}: used {asked}")


def killed(comm: Communicator) -> None:
    """The last rank dies between two calls."""
    all_reduce(comm, plans.switched(comm.size), 256)
    if comm.rank == comm.size - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    all_reduce(comm, plans.switched(comm.size), 256)


def left() -> str:
    """What is left when all have left: handles and mappings, and descriptors of them and of sockets to pass them."""
    end = time.monotonic() + 10
    while library.double_held() and time.monotonic() < end:
        group.sweep()
        time.sleep(0.02)
    files = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return f"{library.double_held()} {sum('double-handle' in each or 'double-object' in each for each in files)}"


def main(what: str) -> None:
    """Run it, or make what one rank does fail, and print what is said and what is left."""
    devices = int(os.environ["DOUBLE_DEVICES"])
    if devices > 1:  # each rank's own comes first
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(str((RANK + i) % devices) for i in range(devices))
    if RANK == 1 and what == "differ":
        os.environ["HAL_CUDA_MULTICAST"] = "false"
    if what == "unreachable":
        Inbox.address = property(lambda _: bytes(16) + b"\0nobody", lambda *_: None)  # type: ignore[assignment]
    if RANK == 1 and what.startswith("cu"):
        os.environ["DOUBLE_REFUSES_CALL"] = what
    try:
        with init() as comm:
            killed(comm) if what == "killed" else used(comm)
    except HalError as error:
        print(f"rank {RANK}: {type(error).__name__}: {error}")
    print(f"rank {RANK}: left {left()}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
