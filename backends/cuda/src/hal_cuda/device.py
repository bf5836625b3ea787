"""A CUDA device: memory, copies, streams, kernels."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from hal.interface.capability import Capability
from hal.interface.device import Device, DeviceProperties, Event, Memory, Stream
from hal.interface.errors import BackendUnavailable, UsageError
from hal.interface.executor import Executor, Membership
from hal_cuda import driver, program, segment
from hal_cuda.driver import Cuda
from hal_cuda.plugin import CAPABILITIES
from hal_cuda.probe import LEAST_CAPABILITY
from hal_cuda.program import Kernel, Module
from hal_cuda.segment import Handle
from hal_cuda.settings import CudaSettings
from hal_cuda.streams import CudaEvent, CudaStream, foreign_handle

MOST_THREADS, MOST_BLOCKS = 1024, 2**31 - 1


class CudaDevice(Device):
    """One device. Any thread may use it: each call makes the device current and then what was current before."""

    def __init__(self, cuda: Cuda, settings: CudaSettings, index: int) -> None:
        self.cuda = cuda
        self.settings = settings
        self.index = index
        self._thread = threading.local()
        if settings.threads > MOST_THREADS:
            raise UsageError(f"cuda.threads is {settings.threads}: a thread block has at most {MOST_THREADS} threads")
        with self.current(), cuda.doing(f"opening device {index}"):
            found = cuda.runtime.getDeviceProperties(index)
            self.capability = (int(found["major"]), int(found["minor"]))
            if self.capability < LEAST_CAPABILITY or not cuda.runtime.deviceGetAttribute(
                driver.UNIFIED_ADDRESSING, index
            ):
                least = f"{LEAST_CAPABILITY[0]}.{LEAST_CAPABILITY[1]}"
                raise BackendUnavailable(f"device {index} is too old: compute capability {least} or newer is needed")
            self.segment = segment.own(cuda, index, settings.segment_size)
            self.context = int(cuda.driver.ctxGetCurrent())
            self._copies = self.segment.take_stream()
        self.multiprocessors = int(found["multiProcessorCount"])
        self._properties = DeviceProperties(
            name=found["name"].decode(),
            index=index,
            memory=self.segment.nbytes,
            compute_units=self.multiprocessors,
            details={"compute capability": f"{self.capability[0]}.{self.capability[1]}"},
        )
        self._allocated: dict[int, int] = {}
        self._imported: dict[int, list[Handle]] = {}
        self._streams: list[CudaStream] = []
        self._modules: list[Module] = []
        self._closed = False

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make this device current in this thread."""
        runtime = self.cuda.runtime
        before = runtime.getDevice()
        if before != self.index or not getattr(self._thread, "ready", False):
            with self.cuda.doing(f"making device {self.index} current"):
                runtime.setDevice(self.index)  # also makes its context this thread's, which nothing else may have done
            self._thread.ready = True
        try:
            yield
        finally:
            if before != self.index:
                runtime.setDevice(before)

    @property
    def properties(self) -> DeviceProperties:
        """See `Device.properties`."""
        return self._properties

    @property
    def capabilities(self) -> frozenset[Capability]:
        """See `Device.capabilities`."""
        return frozenset(CAPABILITIES)

    def allocate(self, nbytes: int) -> Memory:
        """See `Device.allocate`."""
        if nbytes <= 0:
            raise UsageError(f"cannot allocate {nbytes} bytes: at least 1 is needed")
        address = self.segment.allocate(nbytes)
        self._allocated[address] = nbytes
        return Memory(address, nbytes, self)

    def free(self, memory: Memory) -> None:
        """See `Device.free`."""
        with contextlib.suppress(LookupError):
            handle = self._imported[memory.address].pop()
            with self.current():
                segment.unmap_foreign(self.cuda, handle, self.index)
            return
        if self._allocated.pop(memory.address, None) is None:
            raise UsageError(f"memory at {memory.address:#x} is not allocated here, or was freed already")
        self.segment.free(memory.address)

    def copy(self, dst: int, src: int, nbytes: int, stream: Stream | None = None) -> None:
        """See `Device.copy`."""
        if nbytes < 0:
            raise UsageError(f"a range of {nbytes} bytes")
        handle = self._copies if stream is None else self.stream(stream).handle
        if not nbytes:
            return
        self._check_range(dst, nbytes)
        self._check_range(src, nbytes)
        with self.current(), self._refusing(f"copying {nbytes} bytes from {src:#x} to {dst:#x}"):
            self.cuda.runtime.memcpyAsync(dst, src, nbytes, driver.COPY_DEFAULT, handle)
            if stream is None:
                self.cuda.runtime.streamSynchronize(handle)

    def fill(self, dst: int, value: int, nbytes: int, stream: Stream | None = None) -> None:
        """See `Device.fill`."""
        if nbytes < 0:
            raise UsageError(f"a range of {nbytes} bytes")
        if not 0 <= value <= 255:
            raise UsageError(f"cannot fill with {value}: a byte is 0 to 255")
        handle = self._copies if stream is None else self.stream(stream).handle
        if not nbytes:
            return
        self._check_range(dst, nbytes)
        with self.current(), self._refusing(f"filling {nbytes} bytes at {dst:#x}"):
            self.cuda.runtime.memsetAsync(dst, value, nbytes, handle)
            if stream is None:
                self.cuda.runtime.streamSynchronize(handle)

    def export_memory(self, memory: Memory) -> bytes:
        """See `Device.export_memory`."""
        if self._allocated.get(memory.address) != memory.nbytes:
            raise UsageError(f"memory at {memory.address:#x} was not allocated by this device")
        with self.current():
            return self.segment.handle(memory.address, memory.nbytes).pack()

    def import_memory(self, handle: bytes) -> Memory:
        """See `Device.import_memory`."""
        parsed = Handle.unpack(handle)
        with self.current():
            address = segment.map_foreign(self.cuda, parsed, self.index) + parsed.offset
        self._imported.setdefault(address, []).append(parsed)
        return Memory(address, parsed.nbytes, self)

    def create_stream(self) -> CudaStream:
        """See `Device.create_stream`. It does not wait for the default stream."""
        with self.current(), self.cuda.doing("making a stream"):
            handle = int(self.cuda.runtime.streamCreateWithFlags(driver.STREAM_NON_BLOCKING))
        stream = CudaStream(self, handle, owned=True)
        self._streams.append(stream)
        return stream

    def create_event(self) -> Event:
        """See `Device.create_event`."""
        return CudaEvent(self)

    def stream(self, stream: Any) -> CudaStream:
        """A stream as this device uses it: its own, CuPy's, torch's, or whatever has `__cuda_stream__`.

        `UsageError` for a stream of another device, and for what is no stream.
        """
        if isinstance(stream, CudaStream):
            stream.usable(self)
            return stream
        found = foreign_handle(stream)
        if found is None:
            raise UsageError(
                f"a CUDA stream is needed (of this device, CuPy or torch, or with __cuda_stream__), not a "
                f"{type(stream).__name__}"
            )
        handle, index = found
        if index is not None and index != self.index:
            raise UsageError(f"a stream of device {index} is no stream of device {self.index}")
        if index is None and handle not in (0, driver.LEGACY_STREAM, driver.PER_THREAD_STREAM):
            with self.current(), self.cuda.doing("looking at a stream"):
                if int(self.cuda.driver.streamGetCtx(handle)) != self.context:
                    raise UsageError(f"a stream of another device is no stream of device {self.index}")
        return CudaStream(self, handle, owned=False)

    def create_executor(self, membership: Membership) -> Executor:
        """See `Device.create_executor`."""
        from hal_cuda.executor import connect

        return connect(self, membership)

    def compile(self, source: str, options: Sequence[str] = ()) -> Module:
        """See `Device.compile`. HAL's headers are found as <hal/device/NAME.h>; options are NVRTC's."""
        image = program.compile_image(self.cuda, self.capability, source, options)
        with self.current(), self.cuda.doing("loading a module"):
            module = Module(self.cuda, int(self.cuda.driver.moduleLoadData(image)), self.index)
        self._modules.append(module)
        return module

    def launch(
        self, kernel: Any, grid: int, block: int, arguments: Sequence[int | float], stream: Stream | None = None
    ) -> None:
        """See `Device.launch`. Arguments are 64 bits each; without `stream` it returns when the kernel has ended."""
        if not isinstance(kernel, Kernel) or kernel.index != self.index:
            raise UsageError("a kernel of a module that this device has compiled is needed")
        if not 1 <= grid <= MOST_BLOCKS or not 1 <= block <= MOST_THREADS:
            raise UsageError(
                f"a grid of {grid} blocks of {block} threads: allowed are 1 to {MOST_BLOCKS}, and 1 to {MOST_THREADS}"
            )
        values = [ctypes.c_double(value) if isinstance(value, float) else ctypes.c_uint64(value) for value in arguments]
        pointers = (ctypes.c_void_p * max(1, len(values)))(*(ctypes.addressof(value) for value in values))
        handle = self._copies if stream is None else self.stream(stream).handle
        with self.current(), self.cuda.doing(f"launching {kernel.name}"):
            self.cuda.driver.launchKernel(
                kernel.handle, grid, 1, 1, block, 1, 1, 0, handle, ctypes.addressof(pointers), 0
            )
            if stream is None:
                self.cuda.runtime.streamSynchronize(handle)

    def close(self) -> None:
        """See `Device.close`."""
        if self._closed:
            return
        self._closed = True
        for stream in self._streams:
            stream.close()
        with self.current():
            for module in self._modules:
                with contextlib.suppress(*self.cuda.errors):
                    self.cuda.driver.moduleUnload(module.handle)
            while self._imported:
                for handle in self._imported.popitem()[1]:
                    segment.unmap_foreign(self.cuda, handle, self.index)
        while self._allocated:
            self.segment.free(self._allocated.popitem()[0])
        self.segment.return_stream(self._copies)

    # what the executor uses

    def check_buffer(self, what: str, address: int, nbytes: int, itemsize: int) -> None:
        """`UsageError` where kernels of this device cannot use a range as a buffer of elements of `itemsize`."""
        if not nbytes:
            return
        if address % itemsize:
            raise UsageError(f"{what} at {address:#x} is not aligned to its elements of {itemsize} bytes")
        if self.segment.inside(address, nbytes):
            self._check_range(address, nbytes)
            return
        with self.current():
            try:
                found = self.cuda.runtime.pointerGetAttributes(address)
            except self.cuda.errors as error:
                raise UsageError(f"{what} at {address:#x} is no address: {error}") from error
        if found.type == driver.UNREGISTERED:
            raise UsageError(
                f"{what} at {address:#x} is memory of the host, which the device does not reach, or was freed: "
                "copy it to the device (cupy.asarray, tensor.cuda())"
            )
        if found.type == driver.DEVICE and found.device != self.index:
            raise UsageError(f"{what} at {address:#x} lies on device {found.device}, this rank is on {self.index}")
        if found.type == driver.HOST and found.devicePointer != address:
            raise UsageError(f"{what} at {address:#x} is host memory that the device reaches at another address")

    def read(self, address: int, nbytes: int) -> bytes:
        """What the executor's own memory holds."""
        data = ctypes.create_string_buffer(nbytes)
        self._raw_copy(ctypes.addressof(data), address, nbytes)
        return data.raw

    def write(self, address: int, data: bytes) -> None:
        """Store to the executor's own memory, or a peer's."""
        held = ctypes.create_string_buffer(data, len(data))
        self._raw_copy(address, ctypes.addressof(held), len(data))

    def clear(self, address: int, nbytes: int) -> None:
        """Store zeros."""
        with self.current(), self.cuda.doing("clearing memory"):
            self.cuda.runtime.memsetAsync(address, 0, nbytes, self._copies)
            self.cuda.runtime.streamSynchronize(self._copies)

    def _raw_copy(self, dst: int, src: int, nbytes: int) -> None:
        with self.current(), self.cuda.doing("copying memory of the executor"):
            self.cuda.runtime.memcpyAsync(dst, src, nbytes, driver.COPY_DEFAULT, self._copies)
            self.cuda.runtime.streamSynchronize(self._copies)

    def _check_range(self, address: int, nbytes: int) -> None:
        own = self.segment
        if own.inside(address, 0) and not own.heap.holds(address - own.base, nbytes):
            raise UsageError(f"{nbytes} bytes at {address:#x} lie in memory that is not allocated, or was freed")

    @contextlib.contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        try:
            yield
        except self.cuda.runtime.CUDARuntimeError as error:
            kind = UsageError if driver.status_of(error) == driver.INVALID_VALUE else BackendUnavailable
            raise kind(f"{what}: the driver says {error}") from error
