"""A GPU: memory, copies, streams, kernels."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from hal.gpu import program, segment
from hal.gpu.driver import Driver, Kind, Status, foreign_stream
from hal.gpu.program import Kernel, Module
from hal.gpu.segment import Handle
from hal.gpu.settings import GpuSettings
from hal.gpu.streams import GpuEvent, GpuStream
from hal.interface.capability import Capability
from hal.interface.device import Device, DeviceProperties, Event, Memory, Stream
from hal.interface.errors import BackendUnavailable, UsageError
from hal.interface.executor import Executor, Membership


class GpuDevice(Device):
    """One device. Any thread may use it: each call makes the device current and then what was current before."""

    def __init__(self, driver: Driver, settings: GpuSettings, index: int) -> None:
        self.driver = driver
        self.settings = settings
        self.index = index
        self._thread = threading.local()
        with self.current(), driver.doing(f"opening device {index}"):
            self.found = found = driver.open(index)
            if settings.threads > found.most_threads:
                raise UsageError(
                    f"{driver.section}.threads is {settings.threads}: a thread block has at most {found.most_threads} "
                    "threads"
                )
            self.multicast = driver.multicast()
            self.segment = segment.own(driver, index, found.uuid, settings.segment_size)
            self._copies = self.segment.take_stream()
        self._properties = DeviceProperties(
            name=found.name,
            index=index,
            memory=self.segment.nbytes,
            compute_units=found.multiprocessors,
            details={"architecture": found.architecture, **found.details},
        )
        self._allocated: dict[int, int] = {}
        self._imported: dict[int, list[Handle]] = {}
        self._streams: list[GpuStream] = []
        self._modules: list[Module] = []
        self._closed = False

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make this device current in this thread."""
        driver = self.driver
        with driver.doing("asking which device is current"):
            before = driver.current()
        if before != self.index or not getattr(self._thread, "ready", False):
            with driver.doing(f"making device {self.index} current"):
                driver.make_current(self.index)  # also gives this thread the device's context
            self._thread.ready = True
        try:
            yield
        finally:
            if before != self.index:
                with driver.doing(f"making device {before} current again"):
                    driver.make_current(before)

    @property
    def properties(self) -> DeviceProperties:
        """See `Device.properties`."""
        return self._properties

    @property
    def capabilities(self) -> frozenset[Capability]:
        """See `Device.capabilities`."""
        found = self.driver.capabilities
        return frozenset(found if self.multicast is None else (*found, Capability.MULTICAST))

    @property
    def dlpack_device(self) -> tuple[int, int]:
        """See `Device.dlpack_device`."""
        return self.driver.dlpack_type, self.index

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
                segment.unmap_foreign(self.driver, handle, self.index)
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
            self.driver.copy(dst, src, nbytes, handle)
            if stream is None:
                self.driver.stream_synchronize(handle)

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
            self.driver.fill(dst, value, nbytes, handle)
            if stream is None:
                self.driver.stream_synchronize(handle)

    def export_memory(self, memory: Memory) -> bytes:
        """See `Device.export_memory`."""
        if self._allocated.get(memory.address) != memory.nbytes:
            raise UsageError(f"memory at {memory.address:#x} was not allocated by this device")
        with self.current():
            return self.segment.handle(memory.address, memory.nbytes).pack()

    def import_memory(self, handle: bytes) -> Memory:
        """See `Device.import_memory`."""
        parsed = Handle.unpack(handle, self.driver.section)
        with self.current():
            address = segment.map_foreign(self.driver, parsed, self.index) + parsed.offset
        self._imported.setdefault(address, []).append(parsed)
        return Memory(address, parsed.nbytes, self)

    def create_stream(self) -> GpuStream:
        """See `Device.create_stream`. It does not wait for the default stream."""
        with self.current(), self.driver.doing("making a stream"):
            handle = self.driver.stream_create()
        stream = GpuStream(self, handle, owned=True)
        self._streams.append(stream)
        return stream

    def create_event(self) -> Event:
        """See `Device.create_event`."""
        return GpuEvent(self)

    def stream(self, stream: Any) -> GpuStream:
        """A stream as this device uses it: its own, or that of another library.

        `UsageError` for a stream of another device, and for what is no stream.
        """
        if isinstance(stream, GpuStream):
            stream.usable(self)
            return stream
        try:
            found = None if isinstance(stream, Stream) else foreign_stream(self.driver, stream)
        except (TypeError, ValueError) as error:
            raise UsageError(f"a stream that cannot be used: {error}") from None
        if found is None:
            raise UsageError(
                f"a stream of {self.driver.label} is needed (of this device, or of a library whose streams have "
                f"{self.driver.stream_protocol}), not a {type(stream).__name__}"
            )
        handle, index = found
        if index is not None and index != self.index:
            raise UsageError(f"a stream of device {index} is no stream of device {self.index}")
        if index is None and handle not in self.driver.default_streams:
            with self.current(), self.driver.doing("looking at a stream"):
                if self.driver.stream_device(handle) != self.index:
                    raise UsageError(f"a stream of another device is no stream of device {self.index}")
        return GpuStream(self, handle, owned=False)

    def create_executor(self, membership: Membership) -> Executor:
        """See `Device.create_executor`."""
        from hal.gpu.executor import connect

        return connect(self, membership)

    def compile(self, source: str, options: Sequence[str] = ()) -> Module:
        """See `Device.compile`. HAL's headers are found as <hal/device/NAME.h>; options are the compiler's."""
        image = program.compile_image(self.driver, self.found.architecture, source, options)
        with self.current(), self.driver.doing("loading a module"):
            module = Module(self.driver, self.driver.module_load(image), self.index)
        self._modules.append(module)
        return module

    def launch(
        self, kernel: Any, grid: int, block: int, arguments: Sequence[int | float], stream: Stream | None = None
    ) -> None:
        """See `Device.launch`. Arguments are 64 bits each; without `stream` it returns when the kernel has ended."""
        if not isinstance(kernel, Kernel) or kernel.index != self.index:
            raise UsageError("a kernel of a module that this device has compiled is needed")
        blocks, threads = self.found.most_blocks, self.found.most_threads
        if not 1 <= grid <= blocks or not 1 <= block <= threads:
            raise UsageError(
                f"a grid of {grid} blocks of {block} threads: allowed are 1 to {blocks}, and 1 to {threads}"
            )
        values = [ctypes.c_double(value) if isinstance(value, float) else ctypes.c_uint64(value) for value in arguments]
        pointers = (ctypes.c_void_p * max(1, len(values)))(*(ctypes.addressof(value) for value in values))
        handle = self._copies if stream is None else self.stream(stream).handle
        with self.current(), self.driver.doing(f"launching {kernel.name}"):
            self.driver.launch(kernel.handle, grid, block, ctypes.addressof(pointers), handle)
            if stream is None:
                self.driver.stream_synchronize(handle)

    def close(self) -> None:
        """See `Device.close`."""
        if self._closed:
            return
        self._closed = True
        for stream in self._streams:
            stream.close()
        with self.current():
            for module in self._modules:
                with contextlib.suppress(*self.driver.errors):
                    self.driver.module_unload(module.handle)
            while self._imported:
                for handle in self._imported.popitem()[1]:
                    segment.unmap_foreign(self.driver, handle, self.index)
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
        if not address:
            raise UsageError(f"{what} of {nbytes} bytes has the address 0: device memory is needed")
        if self.segment.inside(address, 0):
            self._check_range(address, nbytes, what)
            return
        with self.current():
            try:
                found = self.driver.pointer(address)
            except self.driver.errors as error:
                raise UsageError(f"{what} at {address:#x} is no address: {error}") from error
        if found.kind is Kind.UNKNOWN:
            raise UsageError(
                f"{what} at {address:#x} is memory of the host, which the device does not reach, or was freed: "
                "copy it to the device first"
            )
        if found.kind is Kind.DEVICE and found.device != self.index:
            raise UsageError(f"{what} at {address:#x} lies on device {found.device}, this rank is on {self.index}")
        if found.kind is Kind.HOST and found.device_address != address:
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
        with self.current(), self.driver.doing("clearing memory"):
            self.driver.fill(address, 0, nbytes, self._copies)
            self.driver.stream_synchronize(self._copies)

    def _raw_copy(self, dst: int, src: int, nbytes: int) -> None:
        with self.current(), self.driver.doing("copying memory of the executor"):
            self.driver.copy(dst, src, nbytes, self._copies)
            self.driver.stream_synchronize(self._copies)

    def _check_range(self, address: int, nbytes: int, what: str = "a range") -> None:
        own = self.segment
        if own.inside(address, 0) and not own.heap.holds(address - own.base, nbytes):
            raise UsageError(
                f"{what} of {nbytes} bytes at {address:#x} lies in memory that is not allocated, or was freed"
            )

    @contextlib.contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        try:
            yield
        except self.driver.errors as error:
            kind = UsageError if self.driver.status(error) is Status.INVALID else BackendUnavailable
            raise kind(f"{what}: the driver says {error}") from error


def open_device(driver: Driver, settings: GpuSettings, index: int) -> GpuDevice:
    """Open one of the driver's devices; `UsageError` where there is none of this number."""
    with driver.doing("counting the devices"):
        count = driver.count()
    if not count:
        raise BackendUnavailable(f"there is no device: {driver.label} lists none (`hal doctor` says what may be wrong)")
    if not 0 <= index < count:
        raise UsageError(f"there is no device {index}: {driver.label} lists {count}, counted from 0")
    return GpuDevice(driver, settings, index)
