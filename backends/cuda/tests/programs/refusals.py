"""What a device refuses, one clear error each. No kernel of the executor is needed but for the last."""

from __future__ import annotations

import os
from types import SimpleNamespace

from foreign import ForeignStream, refused

from hal.gpu.segment import Handle
from hal.interface.dtypes import DType
from hal.interface.errors import BackendUnavailable, NotSupported, PlanError, UsageError
from hal.plan.builder import PlanBuilder
from hal_collectives import Communicator, run_local
from hal_cuda import plugin
from hal_cuda.settings import CudaSettings

SOURCE = "#include <hal/device/types.h>\n#include <intrinsics.h>\nHAL_KERNEL void nothing() {}\n"


def devices() -> None:
    refused(UsageError, lambda: plugin.hal_open_device(CudaSettings(), 7), "no device 7", "lists 2")
    refused(UsageError, lambda: plugin.hal_open_device(CudaSettings(threads=2048), 0), "cuda.threads is 2048", "1024")
    huge = CudaSettings(segment_size=1 << 40)
    refused(BackendUnavailable, lambda: plugin.hal_open_device(huge, 1), "no 1099511627776 bytes", "cuda.segment_size")


def kernels(device) -> None:
    kernel = device.compile(SOURCE).nothing
    device.launch(kernel, 1, 1, [])
    for grid, block in ((0, 1), (1 << 31, 1), (1, 0), (1, 1025)):
        refused(
            UsageError, lambda g=grid, b=block: device.launch(kernel, g, b, []), f"a grid of {grid} blocks", "1 to 1024"
        )
    refused(UsageError, lambda: device.compile(SOURCE).missing, "no kernel 'missing'")
    refused(UsageError, lambda: device.compile(SOURCE + "}"), "the compiler refuses this")
    other = plugin.hal_open_device(CudaSettings(), 1)
    refused(UsageError, lambda: other.launch(kernel, 1, 1, []), "a module that this device has compiled")
    other.close()


def streams(device) -> None:
    other = plugin.hal_open_device(CudaSettings(), 1)
    memory = device.allocate(64)
    theirs = other.create_stream()
    refused(UsageError, lambda: device.fill(memory.address, 0, 64, theirs), "stream of device 1", "device 0")
    foreign = SimpleNamespace(ptr=theirs.handle)  # which does not say its device: the driver does
    refused(UsageError, lambda: device.stream(foreign), "stream of another device")
    refused(UsageError, lambda: device.stream(ForeignStream(5, 1)), "stream of device 1")
    refused(
        UsageError, lambda: device.stream(SimpleNamespace(__cuda_stream__=lambda: (9, 5))), "version 9", "0 is known"
    )
    refused(UsageError, lambda: device.stream("stream"), "__cuda_stream__", "not a str")
    assert device.stream(SimpleNamespace(__cuda_stream__=lambda: (0, 5), device_id=0)).handle == 5
    theirs.close()
    other.close()


def memory(device) -> None:
    memory = device.allocate(256)
    device.free(memory)
    refused(UsageError, lambda: device.free(memory), "freed already")
    refused(UsageError, lambda: device.fill(memory.address, 0, 256), "not allocated, or was freed")
    refused(UsageError, lambda: device.allocate(1 << 40), "out of device memory", "cuda.segment_size")
    held = device.allocate(256)
    handle = Handle.unpack(device.export_memory(held), "cuda")
    foreign = Handle("another", *[getattr(handle, name) for name in handle.__dataclass_fields__ if name != "backend"])
    refused(UsageError, lambda: device.import_memory(foreign.pack()), "backend 'another'", "'cuda'")
    for what, address, text in (("x", 4096, "memory of the host"), ("x", held.address + 2, "not aligned")):
        refused(UsageError, lambda w=what, a=address: device.check_buffer(w, a, 8, 4), text, what)


def graphs(device) -> None:
    stream, memory = device.create_stream(), device.allocate(64)
    device.fill(memory.address, 1, 64)
    try:
        with stream.capture() as graph:
            device.fill(memory.address, 2, 64, stream)
            raise KeyError("of the caller")
    except KeyError:
        pass
    stream.synchronize(10)
    assert device.read(memory.address, 1) == b"\1"  # what was recorded is forgotten
    refused(UsageError, lambda: graph.launch(stream), "capture has not ended")
    with stream.capture() as graph:
        device.fill(memory.address, 3, 64, stream)
    refused(UsageError, lambda: graph.launch("stream"), "not a str")
    graph.launch(stream)
    stream.synchronize(10)
    assert device.read(memory.address, 1) == b"\3"
    graph.close()
    graph.close()
    refused(UsageError, lambda: graph.launch(stream), "closed")


def forked() -> None:
    pid = os.fork()
    if pid == 0:
        try:
            refused(UsageError, lambda: plugin.hal_open_device(CudaSettings(), 0), "before this process was forked")
        except BaseException as error:
            print(error, flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def too_many_blocks(comm: Communicator) -> None:
    group = comm._group
    p = PlanBuilder("custom", name="wide", ranks=2, input_chunks=300, output_chunks=300)
    for rank in p.ranks:
        for i in range(300):
            rank.block().copy(rank.output[i], rank.input[i])
    wide = p.build()
    refused(
        PlanError, lambda: group.load(wide, 1, DType.FLOAT32), "needs 600 blocks at once", "holds 512", "cuda.threads"
    )
    refused(NotSupported, lambda: group.device.record(None, 0), "records no traces")


if __name__ == "__main__":
    devices()
    opened = plugin.hal_open_device(CudaSettings(), 0)
    for check in (kernels, streams, memory, graphs):
        check(opened)
        print(check.__name__)
    opened.close()
    forked()
    run_local(2, too_many_blocks, backend="cuda", timeout=30, verify="never")
    print("done")
