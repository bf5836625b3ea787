"""What collectives cost on one device with ranks as threads, beside what the device does at best, in the same run."""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from typing import Any

from hal.interface.device import Device, Stream
from hal.interface.dtypes import DType, ReduceOp
from hal.plan.collective import Collective
from hal.runtime.placed import PlacedExecutable
from hal_collectives import Communicator, run_local

_EMPTY = "#include <hal/device/types.h>\n#include <intrinsics.h>\nHAL_KERNEL void hal_empty() {}\n"


def elapsed(device: Device, stream: Stream, work: Any, times: int) -> float:
    """Seconds of a turn of `work` on a stream, by events: the least of three measurements."""
    found = []
    for _ in range(3):
        first, last = device.create_event(), device.create_event()
        first.record(stream)
        for _ in range(times):
            work()
        last.record(stream)
        last.synchronize(120)
        found.append(first.elapsed(last) / times)
    return min(found)


def measure(comm: Communicator, meet: threading.Barrier, quick: bool) -> dict[str, Any]:
    """All that one rank does; what rank 0 saw."""
    device = comm.device
    stream = device.create_stream()
    found: dict[str, Any] = {"ranks": comm.size}
    there = comm.on(stream)
    large = 1 << (16 if quick else 26)
    a, b = comm.empty(large, "uint8"), comm.empty(large, "uint8")
    if comm.rank == 0:
        copied = elapsed(device, stream, lambda: device.copy(a.address, b.address, large, stream), 5)
        found["copy, bytes read and written a second"] = 2 * large / copied
    meet.wait(120)
    rows = []
    for nbytes in [large] if quick else [large, 2 * large]:
        x, y = comm.empty(nbytes // 4, "float32"), comm.empty(nbytes // 4, "float32")
        there.all_reduce(x, y)
        stream.synchronize(120)
        meet.wait(120)
        seconds = elapsed(device, stream, lambda x=x, y=y: there.all_reduce(x, y), 5)
        if comm.rank == 0:
            best = 2 * comm.size * nbytes / found["copy, bytes read and written a second"]
            rows.append({"all_reduce": nbytes, "us": seconds * 1e6, "of the copy's bandwidth": best / seconds})
        meet.wait(120)
    small = [_small(comm, stream, nbytes, meet, 4 if quick else 20) for nbytes in (8, 1024, 16384)]
    x = comm.empty(2, "float32")
    spans = []
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(10):
            there.all_reduce(x)
        spans.append((time.perf_counter() - began) / 10)
        stream.synchronize(120)
    found |= {"large": rows, "small": small, "enqueuing, us": statistics.median(spans) * 1e6}
    return found


def _small(comm: Communicator, stream: Stream, nbytes: int, meet: threading.Barrier, calls: int) -> dict[str, Any]:
    """By graph replay, beside kernels that do nothing on the same grid."""
    device, x = comm.device, comm.empty(nbytes // 4, "float32")
    executable: Any = comm.caller.calls.get(Collective.ALL_REDUCE, x.size, DType.FLOAT32, ReduceOp.SUM, None)
    if isinstance(executable, PlacedExecutable):
        executable = executable.inner
    blocks, threads = executable.grid
    kernel = device.compile(_EMPTY).hal_empty
    with stream.capture() as graph:
        for _ in range(calls):
            comm.on(stream).all_reduce(x)
    with stream.capture() as nothing:
        for _ in range(calls):
            device.launch(kernel, blocks, threads, [], stream)
    for each in (graph, nothing):
        each.launch(stream)
        stream.synchronize(120)
    meet.wait(120)
    call = elapsed(device, stream, lambda: graph.launch(stream), 5) / calls
    meet.wait(120)
    empty = elapsed(device, stream, lambda: nothing.launch(stream), 5) / calls
    meet.wait(120)
    return {"all_reduce": nbytes, "us": call * 1e6, "empty kernel, us": empty * 1e6, "apart, us": (call - empty) * 1e6}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    together = threading.Barrier(given.ranks)
    print(json.dumps(run_local(given.ranks, measure, together, given.quick, timeout=120)[0], indent=1))
