"""The driver of a maker's GPUs, as `hal.gpu` calls it: what a backend for GPUs implements.

Devices are numbered from 0. Addresses, and the handles of streams, events, graphs, modules and kernels are integers.
Times are seconds. Unless a method says otherwise it acts on the device that is current in the calling thread, returns
when its effect is complete, and raises one of `Driver.errors` where the driver refuses; `Driver.status` says why.
Any thread may call, several at once. Nothing here checks arguments: whoever calls has.
"""

from __future__ import annotations

import abc
import contextlib
import enum
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hal.gpu.multicast import MulticastCalls
from hal.interface.capability import Capability
from hal.interface.errors import BackendUnavailable

T = TypeVar("T")


def once(function: Callable[[], T]) -> Callable[[], T]:
    """Call it once in a process, though threads ask at the same time; it is called again where it raised.

    Libraries of drivers are loaded so: ranks that are threads begin together, and bindings that load their library at
    the first call do not guard that.
    """
    lock = threading.Lock()
    kept = functools.cache(function)

    @functools.wraps(function)
    def call() -> T:
        with lock:
            return kept()

    return call


class Status(enum.Enum):
    """Why a driver refuses, as far as `hal.gpu` acts on it."""

    INVALID = "invalid"
    """An argument is none that the driver can use."""
    OUT_OF_MEMORY = "out of memory"
    OTHER = "other"


class Kind(enum.Enum):
    """What memory lies at an address."""

    UNKNOWN = "unknown"
    """None that the driver knows: the host's own, or freed."""
    HOST = "host"
    """Of the host, and reached by devices."""
    DEVICE = "device"
    MANAGED = "managed"
    """Moves between host and devices by itself."""


@dataclass(frozen=True)
class Pointer:
    """What the driver knows of an address."""

    kind: Kind
    device: int
    """The device whose memory it is, or by which it was allocated."""
    device_address: int
    """The address by which the current device reaches it."""


@dataclass(frozen=True)
class GpuProperties:
    """What a driver says of a device."""

    name: str
    uuid: bytes
    """16 bytes that no other device has, the same in every process."""
    architecture: str
    """What device code is compiled for; part of the key by which compiled code is kept."""
    multiprocessors: int
    """Multiprocessors or compute units: `occupancy` is for each."""
    most_threads: int
    """Threads of a block, at most."""
    most_blocks: int
    """Blocks of a grid, at most."""
    details: dict[str, str] = field(default_factory=dict)
    """What else people may want to read."""


CAPABILITIES = (
    Capability.EXECUTOR,
    Capability.COMPILE,
    Capability.SWITCH_EMULATION,
    Capability.ENQUEUE,
    Capability.GRAPH_CAPTURE,
)
"""What `hal.gpu` makes of these calls."""


@dataclass(frozen=True)
class CopyCalls:
    """The driver's functions that a thread of no interpreter calls. All return 0, or the driver's status."""

    library: str
    enter: str
    """Takes a `Driver.context`: makes a device current in the thread that calls."""
    exchange: str
    """Takes the address of an `int`, 2: what the thread calls does not end captures of other threads."""
    copy: str
    """Takes target, source, bytes, `direction` where there is one, and stream."""
    query: str
    """Takes a stream; 600 while it has work."""
    direction: int = -1


class CompileError(Exception):
    """The compiler refuses the source; the message is its log."""


class Driver(abc.ABC):
    """The calls of a driver. One object serves a process."""

    section: ClassVar[str]
    """The backend's name: that of its section of the configuration and of its folder of compiled code."""
    label: ClassVar[str]
    """What messages call the driver."""
    intrinsics: ClassVar[Path]
    """The vendor's `intrinsics.h` (docs/device.md)."""
    capabilities: ClassVar[tuple[Capability, ...]] = CAPABILITIES
    """What devices of this driver can do beyond the required primitives."""
    dlpack_type: ClassVar[int]
    """What DLPack calls devices of this kind: a `DLDeviceType` of dlpack.h."""
    stream_protocol: ClassVar[str]
    """The method (or attribute) by which other libraries' streams give (version, handle); version 0 is known."""
    stream_attributes: ClassVar[tuple[str, ...]]
    """Attributes of other libraries' streams that hold the handle, in the order in which they are tried."""
    default_streams: ClassVar[tuple[int, ...]]
    """Handles that name a stream of whatever device is current."""
    copy_calls: ClassVar[CopyCalls]
    """What the native thread of a copy engine calls."""

    # errors

    @property
    @abc.abstractmethod
    def errors(self) -> tuple[type[Exception], ...]:
        """The exceptions that these calls raise where the driver refuses."""

    @abc.abstractmethod
    def status(self, error: BaseException) -> Status:
        """Why."""

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Make an error of the driver a `BackendUnavailable` that says what was being done."""
        try:
            yield
        except self.errors as error:
            raise BackendUnavailable(f"{what}: the driver says {error}") from error

    # devices

    @property
    @abc.abstractmethod
    def version(self) -> str:
        """The versions of driver and compiler: compiled code is kept for these alone."""

    @abc.abstractmethod
    def count(self) -> int:
        """How many devices there are; 0 where the driver says that there is none."""

    @abc.abstractmethod
    def open(self, index: int) -> GpuProperties:
        """Make a device current for the first time; what it is. `BackendUnavailable` where it is too old for HAL."""

    @abc.abstractmethod
    def current(self) -> int:
        """The device that is current in this thread."""

    @abc.abstractmethod
    def make_current(self, index: int) -> None:
        """Make a device current in this thread."""

    def multicast(self) -> MulticastCalls | None:
        """The calls for multicast memory of the current device; None where it has none (capability MULTICAST)."""
        return None

    def context(self) -> int:
        """What `CopyCalls.enter` takes for the current device: its number, unless a driver says otherwise."""
        return self.current()

    @abc.abstractmethod
    def can_access(self, index: int, peer: int) -> bool:
        """Whether kernels of device `index` can reach the memory of device `peer`."""

    @abc.abstractmethod
    def enable_access(self, peer: int) -> None:
        """Let the current device reach the memory of another, at the addresses that it has there. Again is allowed."""

    # memory

    @abc.abstractmethod
    def malloc(self, nbytes: int) -> int:
        """Memory of the current device, aligned to 256 bytes, that `ipc_export` takes. It goes with the process."""

    @abc.abstractmethod
    def host_malloc(self, nbytes: int) -> int:
        """Memory of the host that stays where it is and that all devices reach.

        It is coherent: a kernel and the host see each other's stores while the kernel runs.
        """

    @abc.abstractmethod
    def host_free(self, address: int) -> None:
        """Give back what `host_malloc` returned."""

    @abc.abstractmethod
    def pointer(self, address: int) -> Pointer:
        """What lies at an address; `Kind.UNKNOWN` for memory of the host that no device reaches."""

    @abc.abstractmethod
    def ipc_export(self, address: int) -> bytes:
        """64 bytes by which other processes map what `malloc` returned."""

    @abc.abstractmethod
    def ipc_import(self, handle: bytes) -> int:
        """Map what another process exported, on the current device; its address here."""

    @abc.abstractmethod
    def ipc_close(self, address: int) -> None:
        """Unmap what `ipc_import` mapped."""

    @abc.abstractmethod
    def copy(self, dst: int, src: int, nbytes: int, stream: int) -> None:
        """Enqueue a copy between any two of: this device's memory, another's, the host's."""

    @abc.abstractmethod
    def fill(self, address: int, value: int, nbytes: int, stream: int) -> None:
        """Enqueue setting bytes to `value`."""

    # streams and events

    @abc.abstractmethod
    def stream_create(self) -> int:
        """A stream of the current device that does not wait for the default one."""

    @abc.abstractmethod
    def stream_destroy(self, stream: int) -> None:
        """Give a stream back; its work is done."""

    @abc.abstractmethod
    def stream_synchronize(self, stream: int) -> None:
        """Wait until its work is done, without the interpreter's lock. An error of that work is raised."""

    @abc.abstractmethod
    def stream_query(self, stream: int) -> bool:
        """Whether its work is done. An error of that work is raised."""

    @abc.abstractmethod
    def stream_device(self, stream: int) -> int | None:
        """The device whose stream this is; None where that is none that was opened."""

    @abc.abstractmethod
    def stream_wait(self, stream: int, event: int) -> None:
        """Let later work of a stream wait for what an event marks."""

    @abc.abstractmethod
    def event_create(self, *, timed: bool) -> int:
        """An event; one that is not `timed` costs less and has no `event_elapsed`."""

    @abc.abstractmethod
    def event_destroy(self, event: int) -> None:
        """Give an event back."""

    @abc.abstractmethod
    def event_record(self, event: int, stream: int) -> None:
        """Let it mark the end of what a stream has been given so far."""

    @abc.abstractmethod
    def event_query(self, event: int) -> bool:
        """Whether what it marks is reached. An error of the work before it is raised."""

    @abc.abstractmethod
    def event_elapsed(self, first: int, second: int) -> float:
        """Seconds between two that are reached."""

    # graphs: capability GRAPH_CAPTURE

    @abc.abstractmethod
    def capturing(self, stream: int) -> bool:
        """Whether what a stream is given is being recorded."""

    @abc.abstractmethod
    def capture_begin(self, stream: int) -> None:
        """Record what a stream is given from now on, and do not run it. Other threads may go on as they like."""

    @abc.abstractmethod
    def capture_end(self, stream: int) -> int:
        """End it: a graph that can be launched."""

    @abc.abstractmethod
    def capture_discard(self, stream: int) -> None:
        """End it, and forget what was recorded."""

    @abc.abstractmethod
    def graph_launch(self, graph: int, stream: int) -> None:
        """Enqueue all that was recorded."""

    @abc.abstractmethod
    def graph_destroy(self, graph: int) -> None:
        """Give a graph back."""

    # code

    @abc.abstractmethod
    def compile(self, architecture: str, source: str, headers: Mapping[str, str], options: Sequence[str]) -> bytes:
        """Device code (C++17), made into what `module_load` takes; no device need be there.

        `headers` are what `#include <NAME>` finds. Floating point is as docs/device.md asks. `CompileError` holds what
        the compiler says, `BackendUnavailable` where it does not know the architecture.
        """

    @abc.abstractmethod
    def module_load(self, image: bytes) -> int:
        """Load compiled code on the current device."""

    @abc.abstractmethod
    def module_unload(self, module: int) -> None:
        """Give it back."""

    @abc.abstractmethod
    def module_kernel(self, module: int, name: str) -> int:
        """A kernel of a module by its name."""

    @abc.abstractmethod
    def occupancy(self, kernel: int, threads: int) -> int:
        """Blocks of so many threads that one multiprocessor holds at once, as many as are resident together."""

    @abc.abstractmethod
    def launch(self, kernel: int, blocks: int, threads: int, arguments: int, stream: int) -> None:
        """Enqueue a kernel. `arguments` is the address of an array of pointers, one to each argument; all is read
        before this returns."""


def foreign_stream(driver: Driver, stream: Any) -> tuple[int, int | None] | None:
    """The handle of another library's stream and its device, if that says; None where it is no stream.

    `ValueError` where it gives its handle in a form that is not known.
    """
    number = getattr(stream, "device_id", None)
    if number is None:
        number = getattr(stream, "device_index", getattr(getattr(stream, "device", None), "index", None))
    known = number if isinstance(number, int) and number >= 0 else None
    protocol = getattr(stream, driver.stream_protocol, None)
    if protocol is not None:
        version, handle = protocol() if callable(protocol) else protocol
        if version != 0:
            raise ValueError(f"a stream of version {version} of {driver.stream_protocol}: 0 is known")
        return int(handle), known
    for name in driver.stream_attributes:
        handle = getattr(stream, name, None)
        if isinstance(handle, int):
            return handle, known
    return None
