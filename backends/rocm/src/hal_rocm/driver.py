"""The driver that `hal.gpu` calls, over HIP."""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from hal.gpu.apart import compile_apart
from hal.gpu.driver import CopyCalls, Driver, GpuProperties, Kind, Pointer, Status, once
from hal.interface.errors import BackendUnavailable
from hal_rocm import binding
from hal_rocm.binding import Binding, HipError

# Values of HIP's enumerations (hip_runtime_api.h), and the layout of its structures since ROCm 6.
INVALID_VALUE, OUT_OF_MEMORY, NO_DEVICE, INVALID_HANDLE, NOT_READY = 1, 2, 100, 400, 600
PEER_ACCESS_ALREADY_ENABLED = 704
FINE_GRAINED, HOST_PORTABLE_MAPPED_COHERENT, STREAM_NON_BLOCKING, EVENT_WITHOUT_TIME = 1, 0x40000003, 1, 2
COPY_DEFAULT, CAPTURE_THREAD_LOCAL, IPC_LAZY_PEER_ACCESS = 4, 1, 1
WALL_CLOCK_RATE, MULTIPROCESSORS, MAX_THREADS_PER_BLOCK = 10017, 63, 56
PROPERTIES_BYTES, NAME_AT, UUID_AT, ARCHITECTURE_AT = 1472, 0, 256, 1160
_POINTER = struct.Struct("=iiQQiI")
_KINDS = {1: Kind.HOST, 2: Kind.DEVICE, 3: Kind.MANAGED}
_STATUS = {INVALID_VALUE: Status.INVALID, OUT_OF_MEMORY: Status.OUT_OF_MEMORY}
_MOST_BLOCKS, _MOST_THREADS_OF_GRID = 2**31 - 1, 2**32 - 1

TARGETS = ("gfx90a", "gfx942", "gfx950", "gfx11", "gfx12")
"""How the names of architectures begin for which device code is compiled in the tests."""
LEAST_VERSION = 60000000
USUAL_CLOCK = 100_000
"""The constant clock of most devices, in kHz, for a runtime that does not say."""


class RocmDriver(Driver):
    """HIP."""

    section = "rocm"
    label = "HIP"
    intrinsics = Path(__file__).parent / "include" / "intrinsics.h"
    dlpack_type = 10  # kDLROCM
    stream_protocol = "__cuda_stream__"  # PyTorch and CuPy keep their names when they are built for ROCm
    stream_attributes = ("cuda_stream", "ptr")
    default_streams = (0, 1, 2)
    copy_calls = CopyCalls("libamdhip64.so", "hipSetDevice", "hipThreadExchangeStreamCaptureMode", "hipMemcpyAsync",
                           "hipStreamQuery", COPY_DEFAULT)  # fmt: skip

    def __init__(self, bound: Binding) -> None:
        self._hip = bound.call
        self._structure = bound.structure
        self._name = bound.name

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """See `Driver.errors`."""
        return (HipError,)

    def status(self, error: BaseException) -> Status:
        """See `Driver.status`."""
        return _STATUS.get(getattr(error, "status", -1), Status.OTHER)

    # devices

    @functools.cached_property
    def version(self) -> str:
        """See `Driver.version`. hiprtc comes with the runtime."""
        return f"HIP {self._hip('hipRuntimeGetVersion')}"

    def count(self) -> int:
        """See `Driver.count`."""
        try:
            return int(self._hip("hipGetDeviceCount"))
        except HipError as error:
            if error.status == NO_DEVICE:
                return 0
            raise

    def describe(self, index: int) -> tuple[str, bytes, str]:
        """Name, identity and full architecture of a device ("gfx942:sramecc+:xnack-")."""
        data = self._structure("hipGetDeviceProperties", PROPERTIES_BYTES, index)

        def text(at: int) -> str:
            return data[at : at + 256].split(b"\0")[0].decode(errors="replace")

        return text(NAME_AT), data[UUID_AT : UUID_AT + 16], text(ARCHITECTURE_AT)

    def open(self, index: int) -> GpuProperties:
        """See `Driver.open`."""
        self._hip("hipSetDevice", index)
        if self._hip("hipRuntimeGetVersion") < LEAST_VERSION:
            raise BackendUnavailable("the ROCm installed here is too old: ROCm 6.0 or newer is needed")
        name, uuid, architecture = self.describe(index)
        if not architecture.startswith(TARGETS):
            raise BackendUnavailable(f"device {index} is a {architecture}: supported are {', '.join(TARGETS)}")
        try:
            clock = self._hip("hipDeviceGetAttribute", WALL_CLOCK_RATE, index) or USUAL_CLOCK
        except (HipError, ValueError):
            clock = USUAL_CLOCK
        threads = int(self._hip("hipDeviceGetAttribute", MAX_THREADS_PER_BLOCK, index))
        return GpuProperties(
            name=name,
            uuid=uuid,
            architecture=f"{architecture}@{clock}",
            multiprocessors=int(self._hip("hipDeviceGetAttribute", MULTIPROCESSORS, index)),
            most_threads=threads,
            most_blocks=min(_MOST_BLOCKS, _MOST_THREADS_OF_GRID // threads),
            details={"architecture": architecture, "binding": self._name},
        )

    def current(self) -> int:
        """See `Driver.current`."""
        return int(self._hip("hipGetDevice"))

    def make_current(self, index: int) -> None:
        """See `Driver.make_current`."""
        self._hip("hipSetDevice", index)

    def can_access(self, index: int, peer: int) -> bool:
        """See `Driver.can_access`."""
        return bool(self._hip("hipDeviceCanAccessPeer", index, peer))

    def enable_access(self, peer: int) -> None:
        """See `Driver.enable_access`."""
        try:
            self._hip("hipDeviceEnablePeerAccess", peer, 0)
        except HipError as error:
            if error.status != PEER_ACCESS_ALREADY_ENABLED:
                raise

    # memory

    def malloc(self, nbytes: int) -> int:
        """See `Driver.malloc`. Fine-grained: other devices' stores are seen while a kernel runs."""
        return int(self._hip("hipExtMallocWithFlags", nbytes, FINE_GRAINED))

    def host_malloc(self, nbytes: int) -> int:
        """See `Driver.host_malloc`."""
        return int(self._hip("hipHostMalloc", nbytes, HOST_PORTABLE_MAPPED_COHERENT))

    def host_free(self, address: int) -> None:
        """See `Driver.host_free`."""
        self._hip("hipHostFree", address)

    def pointer(self, address: int) -> Pointer:
        """See `Driver.pointer`."""
        try:
            data = self._structure("hipPointerGetAttributes", _POINTER.size, address)
        except HipError as error:
            if error.status == INVALID_VALUE:  # memory that HIP does not know, in some versions
                return Pointer(Kind.UNKNOWN, -1, 0)
            raise
        kind, device, device_address, *_ = _POINTER.unpack(data)
        return Pointer(_KINDS.get(kind, Kind.UNKNOWN), device, device_address)

    def ipc_export(self, address: int) -> bytes:
        """See `Driver.ipc_export`."""
        return self._structure("hipIpcGetMemHandle", 64, address)

    def ipc_import(self, handle: bytes) -> int:
        """See `Driver.ipc_import`."""
        return int(self._hip("hipIpcOpenMemHandle", handle, IPC_LAZY_PEER_ACCESS))

    def ipc_close(self, address: int) -> None:
        """See `Driver.ipc_close`."""
        self._hip("hipIpcCloseMemHandle", address)

    def copy(self, dst: int, src: int, nbytes: int, stream: int) -> None:
        """See `Driver.copy`."""
        self._hip("hipMemcpyAsync", dst, src, nbytes, COPY_DEFAULT, stream)

    def fill(self, address: int, value: int, nbytes: int, stream: int) -> None:
        """See `Driver.fill`."""
        self._hip("hipMemsetAsync", address, value, nbytes, stream)

    # streams and events

    def stream_create(self) -> int:
        """See `Driver.stream_create`."""
        return int(self._hip("hipStreamCreateWithFlags", STREAM_NON_BLOCKING))

    def stream_destroy(self, stream: int) -> None:
        """See `Driver.stream_destroy`."""
        self._hip("hipStreamDestroy", stream)

    def stream_synchronize(self, stream: int) -> None:
        """See `Driver.stream_synchronize`."""
        self._hip("hipStreamSynchronize", stream)

    def stream_query(self, stream: int) -> bool:
        """See `Driver.stream_query`."""
        return self._reached("hipStreamQuery", stream)

    def stream_device(self, stream: int) -> int | None:
        """See `Driver.stream_device`."""
        try:
            return int(self._hip("hipStreamGetDevice", stream))
        except HipError as error:
            if error.status == INVALID_HANDLE:
                return None
            raise

    def stream_wait(self, stream: int, event: int) -> None:
        """See `Driver.stream_wait`."""
        self._hip("hipStreamWaitEvent", stream, event, 0)

    def event_create(self, *, timed: bool) -> int:
        """See `Driver.event_create`."""
        return int(self._hip("hipEventCreateWithFlags", 0 if timed else EVENT_WITHOUT_TIME))

    def event_destroy(self, event: int) -> None:
        """See `Driver.event_destroy`."""
        self._hip("hipEventDestroy", event)

    def event_record(self, event: int, stream: int) -> None:
        """See `Driver.event_record`."""
        self._hip("hipEventRecord", event, stream)

    def event_query(self, event: int) -> bool:
        """See `Driver.event_query`."""
        return self._reached("hipEventQuery", event)

    def event_elapsed(self, first: int, second: int) -> float:
        """See `Driver.event_elapsed`."""
        return float(self._hip("hipEventElapsedTime", first, second)) / 1e3

    def _reached(self, call: str, handle: int) -> bool:
        try:
            self._hip(call, handle)
        except HipError as error:
            if error.status == NOT_READY:
                return False
            raise
        return True

    # graphs

    def capturing(self, stream: int) -> bool:
        """See `Driver.capturing`."""
        return bool(self._hip("hipStreamIsCapturing", stream))

    def capture_begin(self, stream: int) -> None:
        """See `Driver.capture_begin`."""
        self._hip("hipStreamBeginCapture", stream, CAPTURE_THREAD_LOCAL)

    def capture_end(self, stream: int) -> int:
        """See `Driver.capture_end`."""
        recorded = self._hip("hipStreamEndCapture", stream)
        try:
            return int(self._hip("hipGraphInstantiateWithFlags", recorded, 0))
        finally:
            self._hip("hipGraphDestroy", recorded)

    def capture_discard(self, stream: int) -> None:
        """See `Driver.capture_discard`."""
        self._hip("hipGraphDestroy", self._hip("hipStreamEndCapture", stream))

    def graph_launch(self, graph: int, stream: int) -> None:
        """See `Driver.graph_launch`."""
        self._hip("hipGraphLaunch", graph, stream)

    def graph_destroy(self, graph: int) -> None:
        """See `Driver.graph_destroy`."""
        self._hip("hipGraphExecDestroy", graph)

    # code

    def compile(self, architecture: str, source: str, headers: Mapping[str, str], options: Sequence[str]) -> bytes:
        """See `Driver.compile`. Options are hiprtc's, which are clang's."""
        target, _, clock = architecture.partition("@")
        flags = [f"--offload-arch={target}", "-std=c++17", "-ffp-contract=off"]
        flags += [f"-DHAL_WALL_CLOCK_KHZ={clock or USUAL_CLOCK}", *options]
        return compile_apart("hal_rocm.compiler", "hiprtc", target, source, headers, flags)

    def module_load(self, image: bytes) -> int:
        """See `Driver.module_load`."""
        return int(self._hip("hipModuleLoadData", image))

    def module_unload(self, module: int) -> None:
        """See `Driver.module_unload`."""
        self._hip("hipModuleUnload", module)

    def module_kernel(self, module: int, name: str) -> int:
        """See `Driver.module_kernel`."""
        return int(self._hip("hipModuleGetFunction", module, name.encode()))

    def occupancy(self, kernel: int, threads: int) -> int:
        """See `Driver.occupancy`."""
        return int(self._hip("hipModuleOccupancyMaxActiveBlocksPerMultiprocessor", kernel, threads, 0))

    def launch(self, kernel: int, blocks: int, threads: int, arguments: int, stream: int) -> None:
        """See `Driver.launch`."""
        self._hip("hipModuleLaunchKernel", kernel, blocks, 1, 1, threads, 1, 1, 0, stream, arguments, None)


@once
def rocm() -> RocmDriver:
    """The driver of this process; `BackendUnavailable` where no binding can be used."""
    return RocmDriver(binding.needed())
