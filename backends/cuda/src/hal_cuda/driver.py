"""The driver that `hal.gpu` calls, over CuPy's binding of it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from hal.gpu.driver import CompileError, CopyCalls, Driver, GpuProperties, Kind, Pointer, Status, once
from hal.interface.errors import BackendUnavailable
from hal_cuda import binding
from hal_cuda.binding import Binding
from hal_cuda.multicast import CudaMulticast, DriverError, multicast_calls

_MOST_BLOCKS = 2**31 - 1
_KINDS = {binding.HOST: Kind.HOST, binding.DEVICE: Kind.DEVICE, binding.MANAGED: Kind.MANAGED}
_STATUS = {binding.INVALID_VALUE: Status.INVALID, binding.MEMORY_ALLOCATION: Status.OUT_OF_MEMORY}


class CudaDriver(Driver):
    """CUDA. Contexts are the devices' primary ones, which CuPy and torch use too."""

    section = "cuda"
    label = "CUDA"
    intrinsics = Path(__file__).parent / "include" / "intrinsics.h"
    dlpack_type = 2  # kDLCUDA
    stream_protocol = "__cuda_stream__"
    stream_attributes = ("cuda_stream", "ptr")  # torch's, and CuPy's
    default_streams = (0, binding.LEGACY_STREAM, binding.PER_THREAD_STREAM)
    copy_calls = CopyCalls(
        "libcuda.so.1", "cuCtxSetCurrent", "cuThreadExchangeStreamCaptureMode", "cuMemcpyAsync", "cuStreamQuery"
    )

    def __init__(self, bound: Binding) -> None:
        self._runtime, self._driver, self._nvrtc = bound.runtime, bound.driver, bound.nvrtc
        self._errors = (bound.runtime.CUDARuntimeError, bound.driver.CUDADriverError, DriverError)
        self._contexts: dict[int, int] = {}

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """See `Driver.errors`."""
        return self._errors

    def status(self, error: BaseException) -> Status:
        """See `Driver.status`. CUDA's code is known of errors of the runtime API."""
        return _STATUS.get(getattr(error, "status", -1), Status.OTHER)

    # devices

    @functools.cached_property
    def version(self) -> str:
        """See `Driver.version`."""
        return f"{self._nvrtc.getVersion()} {self._runtime.driverGetVersion()}"

    def count(self) -> int:
        """See `Driver.count`."""
        try:
            return int(self._runtime.getDeviceCount())
        except self._runtime.CUDARuntimeError as error:
            if getattr(error, "status", None) == binding.NO_DEVICE:
                return 0
            raise

    def open(self, index: int) -> GpuProperties:
        """See `Driver.open`."""
        self._runtime.setDevice(index)
        found = self._runtime.getDeviceProperties(index)
        capability = int(found["major"]), int(found["minor"])
        unified = self._runtime.deviceGetAttribute(binding.UNIFIED_ADDRESSING, index)
        if capability < binding.LEAST_CAPABILITY or not unified:
            least = ".".join(map(str, binding.LEAST_CAPABILITY))
            raise BackendUnavailable(f"device {index} is too old: compute capability {least} or newer is needed")
        self._contexts[int(self._driver.ctxGetCurrent())] = index
        return GpuProperties(
            name=found["name"].decode(),
            uuid=bytes(found["uuid"]).ljust(16, b"\0")[:16],
            architecture=f"sm_{capability[0]}{capability[1]}",
            multiprocessors=int(found["multiProcessorCount"]),
            most_threads=int(self._runtime.deviceGetAttribute(binding.MAX_THREADS_PER_BLOCK, index)),
            most_blocks=_MOST_BLOCKS,
        )

    def current(self) -> int:
        """See `Driver.current`."""
        return int(self._runtime.getDevice())

    def make_current(self, index: int) -> None:
        """See `Driver.make_current`."""
        self._runtime.setDevice(index)

    def multicast(self) -> CudaMulticast | None:
        """See `Driver.multicast`."""
        return multicast_calls(self.current())

    def context(self) -> int:
        """See `Driver.context`."""
        return int(self._driver.ctxGetCurrent())

    def can_access(self, index: int, peer: int) -> bool:
        """See `Driver.can_access`."""
        return bool(self._runtime.deviceCanAccessPeer(index, peer))

    def enable_access(self, peer: int) -> None:
        """See `Driver.enable_access`."""
        try:
            self._runtime.deviceEnablePeerAccess(peer)
        except self._runtime.CUDARuntimeError as error:
            if getattr(error, "status", None) != binding.PEER_ACCESS_ALREADY_ENABLED:
                raise

    # memory

    def malloc(self, nbytes: int) -> int:
        """See `Driver.malloc`."""
        return int(self._runtime.malloc(nbytes))

    def host_malloc(self, nbytes: int) -> int:
        """See `Driver.host_malloc`."""
        return int(self._runtime.hostAlloc(nbytes, binding.HOST_PORTABLE_MAPPED))

    def host_free(self, address: int) -> None:
        """See `Driver.host_free`."""
        self._runtime.freeHost(address)

    def pointer(self, address: int) -> Pointer:
        """See `Driver.pointer`."""
        found = self._runtime.pointerGetAttributes(address)
        return Pointer(_KINDS.get(found.type, Kind.UNKNOWN), int(found.device), int(found.devicePointer or 0))

    def ipc_export(self, address: int) -> bytes:
        """See `Driver.ipc_export`."""
        return bytes(self._runtime.ipcGetMemHandle(address))

    def ipc_import(self, handle: bytes) -> int:
        """See `Driver.ipc_import`."""
        return int(self._runtime.ipcOpenMemHandle(handle))

    def ipc_close(self, address: int) -> None:
        """See `Driver.ipc_close`."""
        self._runtime.ipcCloseMemHandle(address)

    def copy(self, dst: int, src: int, nbytes: int, stream: int) -> None:
        """See `Driver.copy`."""
        self._runtime.memcpyAsync(dst, src, nbytes, binding.COPY_DEFAULT, stream)

    def fill(self, address: int, value: int, nbytes: int, stream: int) -> None:
        """See `Driver.fill`."""
        self._runtime.memsetAsync(address, value, nbytes, stream)

    # streams and events

    def stream_create(self) -> int:
        """See `Driver.stream_create`."""
        return int(self._runtime.streamCreateWithFlags(binding.STREAM_NON_BLOCKING))

    def stream_destroy(self, stream: int) -> None:
        """See `Driver.stream_destroy`."""
        self._runtime.streamDestroy(stream)

    def stream_synchronize(self, stream: int) -> None:
        """See `Driver.stream_synchronize`."""
        self._runtime.streamSynchronize(stream)

    def stream_query(self, stream: int) -> bool:
        """See `Driver.stream_query`."""
        return self._reached(self._runtime.streamQuery(stream))

    def stream_device(self, stream: int) -> int | None:
        """See `Driver.stream_device`."""
        return self._contexts.get(int(self._driver.streamGetCtx(stream)))

    def stream_wait(self, stream: int, event: int) -> None:
        """See `Driver.stream_wait`."""
        self._runtime.streamWaitEvent(stream, event)

    def event_create(self, *, timed: bool) -> int:
        """See `Driver.event_create`."""
        if timed:
            return int(self._runtime.eventCreate())
        return int(self._runtime.eventCreateWithFlags(binding.EVENT_WITHOUT_TIME))

    def event_destroy(self, event: int) -> None:
        """See `Driver.event_destroy`."""
        self._runtime.eventDestroy(event)

    def event_record(self, event: int, stream: int) -> None:
        """See `Driver.event_record`."""
        self._runtime.eventRecord(event, stream)

    def event_query(self, event: int) -> bool:
        """See `Driver.event_query`."""
        return self._reached(self._runtime.eventQuery(event))

    def event_elapsed(self, first: int, second: int) -> float:
        """See `Driver.event_elapsed`."""
        return float(self._runtime.eventElapsedTime(first, second)) / 1e3

    def _reached(self, status: int) -> bool:
        if status in (0, binding.NOT_READY):
            return status == 0
        raise self._runtime.CUDARuntimeError(status)

    # graphs

    def capturing(self, stream: int) -> bool:
        """See `Driver.capturing`."""
        return bool(self._runtime.streamIsCapturing(stream))

    def capture_begin(self, stream: int) -> None:
        """See `Driver.capture_begin`."""
        self._runtime.streamBeginCapture(stream, binding.CAPTURE_THREAD_LOCAL)

    def capture_end(self, stream: int) -> int:
        """See `Driver.capture_end`."""
        recorded = self._runtime.streamEndCapture(stream)
        try:
            return int(self._runtime.graphInstantiate(recorded))
        finally:
            self._runtime.graphDestroy(recorded)

    def capture_discard(self, stream: int) -> None:
        """See `Driver.capture_discard`."""
        self._runtime.graphDestroy(self._runtime.streamEndCapture(stream))

    def graph_launch(self, graph: int, stream: int) -> None:
        """See `Driver.graph_launch`."""
        self._runtime.graphLaunch(graph, stream)

    def graph_destroy(self, graph: int) -> None:
        """See `Driver.graph_destroy`."""
        self._runtime.graphExecDestroy(graph)

    # code

    def compile(self, architecture: str, source: str, headers: Mapping[str, str], options: Sequence[str]) -> bytes:
        """See `Driver.compile`. Options are NVRTC's."""
        nvrtc = self._nvrtc
        chosen, binary = self._target(int(architecture.removeprefix("sm_")))
        names, texts = [name.encode() for name in headers], [text.encode() for text in headers.values()]
        program = nvrtc.createProgram(source, "kernel.cu", texts, names)
        try:
            try:
                nvrtc.compileProgram(program, ("--std=c++17", f"--gpu-architecture={chosen}", *options))
            except Exception as error:
                log = str(nvrtc.getProgramLog(program)).strip("\0\n")
                raise CompileError(log or str(error)) from error
            return bytes(nvrtc.getCUBIN(program) if binary else nvrtc.getPTX(program))
        finally:
            nvrtc.destroyProgram(program)

    def _target(self, wanted: int) -> tuple[str, bool]:
        """What to compile for, and whether that gives machine code (else the driver compiles on)."""
        known = [arch for arch in self._nvrtc.getSupportedArchs() if arch <= wanted]
        if not known:
            version = ".".join(map(str, self._nvrtc.getVersion()))
            raise BackendUnavailable(f"NVRTC {version} does not compile for sm_{wanted}: use an older one")
        best = max(known)
        # machine code runs on later devices of its major version
        return (f"sm_{best}", True) if best // 10 == wanted // 10 else (f"compute_{best}", False)

    def module_load(self, image: bytes) -> int:
        """See `Driver.module_load`."""
        return int(self._driver.moduleLoadData(image))

    def module_unload(self, module: int) -> None:
        """See `Driver.module_unload`."""
        self._driver.moduleUnload(module)

    def module_kernel(self, module: int, name: str) -> int:
        """See `Driver.module_kernel`."""
        return int(self._driver.moduleGetFunction(module, name))

    def occupancy(self, kernel: int, threads: int) -> int:
        """See `Driver.occupancy`."""
        return int(self._driver.occupancyMaxActiveBlocksPerMultiprocessor(kernel, threads, 0))

    def launch(self, kernel: int, blocks: int, threads: int, arguments: int, stream: int) -> None:
        """See `Driver.launch`."""
        self._driver.launchKernel(kernel, blocks, 1, 1, threads, 1, 1, 0, stream, arguments, 0)


@once
def cuda() -> CudaDriver:
    """The driver of this process; `BackendUnavailable` where CuPy cannot be used."""
    return CudaDriver(binding.needed())
