"""Collectives on arrays in device memory: those of `empty`, other libraries', on streams and in graphs."""

from __future__ import annotations

import gc

import foreign
import numpy as np
from foreign import ForeignArray, ForeignStream, Interface

from hal.interface.errors import UsageError
from hal_collectives import Communicator, DeviceArray, run_local
from hal_collectives import dlpack as packing


def own_arrays(comm: Communicator) -> None:
    r, n = comm.rank, comm.size
    x = comm.empty((2, 3), np.float32)
    assert isinstance(x, DeviceArray)
    assert comm.empty(0).nbytes == 0
    mine = np.arange(6, dtype=np.float32).reshape(2, 3) + r
    x.copy_from(mine)
    assert comm.all_reduce(x) is x
    total = np.arange(6, dtype=np.float32).reshape(2, 3) * n + sum(range(n))
    assert (x.numpy() == total).all()
    x.copy_from(mine)
    every = comm.all_gather(x)
    assert isinstance(every, DeviceArray)
    assert every.shape == (n, 2, 3)
    assert (every.numpy()[1 - r] == mine - r + (1 - r)).all()
    assert (comm.reduce_scatter(x).numpy() == total[r]).all()
    both = comm.all_to_all(x, x)
    assert (both.numpy() == np.stack([np.arange(3) + 3 * r + k for k in range(n)])).all()
    lengths = comm.all_gather_v(comm.empty(r + 1).copy_from(np.full(r + 1, r, np.float32)))
    assert lengths.numpy().tolist() == [0, 1, 1]
    if r == 0:
        comm.send(x, 1)
    else:
        assert comm.recv(x, 0) is x
    capsule = x.__dlpack__()
    found = packing.describe(capsule)
    assert (found.address, found.shape) == (x.address, x.shape)
    used = comm._group.device.segment.heap.used
    del capsule, every, both, lengths
    gc.collect()
    assert comm._group.device.segment.heap.used < used


def other_libraries(comm: Communicator) -> None:
    device = comm._group.device
    x = ForeignArray(device, np.full(50, comm.rank + 1, np.float32))
    assert comm.all_reduce(x) is x
    assert (x.numpy() == 3).all()
    assert x.asked[0] > 2  # a stream that was to wait for what was under way
    comm.all_reduce(Interface(x))
    assert (x.numpy() == 6).all()
    bits = ForeignArray(device, np.full(50, comm.rank, np.float32))
    comm.broadcast(bits, root=1)
    assert (bits.numpy() == 1).all()


def on_streams(comm: Communicator) -> None:
    device = comm._group.device
    stream = device.create_stream()
    x = ForeignArray(device, np.zeros(50, np.float32))
    value = ForeignArray(device, np.full(50, comm.rank + 1, np.float32))
    there = comm.on(ForeignStream(stream.handle))
    for _ in range(4):
        device.copy(x.address, value.address, 200, stream)
        there.all_reduce(x)
        there.all_reduce(x)
    stream.synchronize(30)
    comm.check()
    assert (x.numpy() == 6).all()
    assert set(x.asked) == {-1}  # the caller says what comes before what
    with stream.capture() as graph:
        device.copy(x.address, value.address, 200, stream)
        comm.on(stream).all_reduce(x)
        out = comm.on(stream).all_gather(x)
    for _ in range(3):
        graph.launch(stream)
        stream.synchronize(30)
        assert (out.numpy() == 3).all()
    foreign.refused(UsageError, lambda: there.all_reduce(x, async_op=True), "async_op")
    foreign.refused(UsageError, lambda: there.all_to_all(x, x), "must be apart")
    foreign.refused(UsageError, lambda: there.all_gather_v(x), "without a stream")
    foreign.refused(
        UsageError, lambda: comm.on(ForeignStream(stream.handle, 1)).all_reduce(x), "stream of device 1", "device 0"
    )
    comm.all_reduce(x)
    assert (x.numpy() == 6).all()
    graph.close()


if __name__ == "__main__":
    for body in (own_arrays, other_libraries, on_streams):
        run_local(2, body, backend="cuda", timeout=30)
        print(body.__name__)
