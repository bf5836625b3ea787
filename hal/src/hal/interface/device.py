"""The Device facet: memory and execution on one accelerator (or on the CPUs of this machine).

A backend implements `Device` in a package of its own. Addresses are integers valid on the device; sizes are bytes.
Methods raise `UsageError` for arguments that cannot be used, `NotSupported` for a capability that is not declared, and
`BackendUnavailable` where the driver fails. Unless said otherwise a method returns when its effect is complete.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hal.interface.capability import Capability
from hal.interface.errors import NotSupported
from hal.interface.executor import Executor, Membership

if TYPE_CHECKING:
    from hal.plan.trace_file import TraceFile


@dataclass(frozen=True)
class DeviceProperties:
    """What a device says of itself."""

    name: str
    """As its maker calls it."""
    index: int
    memory: int
    """Bytes of memory that `allocate` draws from."""
    compute_units: int
    """Cores, multiprocessors or compute units."""
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Memory:
    """A range of memory: `address` on the device, `nbytes`. Owned by whoever allocated or imported it, until freed.

    `device` is None for ordinary memory of this process, which transports register.
    """

    address: int
    nbytes: int
    device: Device | None = field(repr=False)


class Event(abc.ABC):
    """A point in a stream's work. Maps to a CUDA or HIP event."""

    @abc.abstractmethod
    def record(self, stream: Stream) -> None:
        """Mark the end of all work enqueued on `stream` so far. Recording again moves the mark.

        While `stream` is captured the mark is one of the graph: `synchronize` is then a `UsageError`.
        """

    @abc.abstractmethod
    def wait(self, stream: Stream) -> None:
        """Let later work on `stream` wait for the mark. Returns at once; an event never recorded holds nothing up."""

    @abc.abstractmethod
    def synchronize(self, timeout: float) -> None:
        """Block until the mark is reached; `StallTimeout` after `timeout` seconds."""

    @abc.abstractmethod
    def elapsed(self, later: Event) -> float:
        """Seconds from this mark to `later`'s; `UsageError` unless both were reached."""


class Graph(abc.ABC):
    """Work that a stream was given while it was captured. What it refers to has to outlive it."""

    @abc.abstractmethod
    def launch(self, stream: Stream) -> None:
        """Enqueue all of it. Launches that communicate are made in the same order on every rank."""

    @abc.abstractmethod
    def close(self) -> None:
        """Free it; no launch of it is under way. Closing twice is allowed."""


class Stream(abc.ABC):
    """A queue of work that runs in order. Maps to a CUDA or HIP stream. Work of different streams is not ordered."""

    handle: int = 0
    """What the driver and other libraries know it by; 0 where they do not."""

    @abc.abstractmethod
    def synchronize(self, timeout: float) -> None:
        """Block until all work enqueued so far is done; `StallTimeout` after `timeout` seconds.

        An error of that work is raised here, once.
        """

    @abc.abstractmethod
    def query(self) -> bool:
        """Whether all work enqueued so far is done. Does not block."""

    @abc.abstractmethod
    def close(self) -> None:
        """Finish the work enqueued so far, however long that takes, and free the stream. Closing twice is allowed.

        Work waits for nothing but work enqueued earlier, so that it ends; for a deadline, `synchronize` first.
        """

    def capture(self) -> contextlib.AbstractContextManager[Graph]:
        """Record what is enqueued here inside the `with`, to be launched after it (capability GRAPH_CAPTURE)."""
        raise NotSupported(f"this stream is not captured: capability {Capability.GRAPH_CAPTURE.value}")


class Device(abc.ABC):
    """One device, opened by a plug-in's `hal_open_device`. Threads may share it."""

    @property
    @abc.abstractmethod
    def properties(self) -> DeviceProperties:
        """What the device says of itself; does not change."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> frozenset[Capability]:
        """What this device can do beyond the required primitives; does not change."""

    @property
    def dlpack_device(self) -> tuple[int, int]:
        """What DLPack calls this device: type and number, as in dlpack.h."""
        return 1, 0

    @abc.abstractmethod
    def allocate(self, nbytes: int) -> Memory:
        """Allocate memory that can be exported, aligned to 256 bytes at least. The caller owns it until `free`.

        Its content is undefined. `UsageError` where `nbytes` is not positive or exceeds what there is.
        """

    @abc.abstractmethod
    def free(self, memory: Memory) -> None:
        """Give back what `allocate` or `import_memory` returned. Freeing twice is a `UsageError`."""

    @abc.abstractmethod
    def copy(self, dst: int, src: int, nbytes: int, stream: Stream | None = None) -> None:
        """Copy within the device's address space. With `stream` it is enqueued and ordered there. No overlap.

        Either address may also be one of this process's ordinary memory: so data comes to the device and back.
        """

    @abc.abstractmethod
    def fill(self, dst: int, value: int, nbytes: int, stream: Stream | None = None) -> None:
        """Set bytes to `value` (0 to 255). With `stream` it is enqueued and ordered there."""

    @abc.abstractmethod
    def export_memory(self, memory: Memory) -> bytes:
        """A handle by which another process on this machine maps `memory`. Valid while the memory is not freed."""

    @abc.abstractmethod
    def import_memory(self, handle: bytes) -> Memory:
        """Map what another rank exported. The caller frees the mapping, not the memory.

        `UsageError` where the bytes are no handle of this backend, `PeerFailure` where its owner is gone.
        """

    @abc.abstractmethod
    def create_stream(self) -> Stream:
        """A new stream, owned by the caller until `close`."""

    @abc.abstractmethod
    def create_event(self) -> Event:
        """A new event."""

    def create_executor(self, membership: Membership) -> Executor:
        """An executor for a group (capability EXECUTOR). Called by all members; returns when all are connected."""
        raise NotSupported(f"{self.properties.name} has no executor of its own: capability {Capability.EXECUTOR.value}")

    def record(self, file: TraceFile, rank: int) -> None:
        """Write what the executors made from now on do, instruction by instruction, to a trace file.

        `rank` is this rank's number in the job. What is written when is the device's choice, but all of it is when an
        executor is closed, when a call fails and when the process ends by itself.
        """
        raise NotSupported(f"{self.properties.name} records no traces: unset the setting `trace`")

    def compile(self, source: str, options: Sequence[str] = ()) -> Any:
        """Compile device code to a module (capability COMPILE)."""
        raise NotSupported(f"{self.properties.name} compiles no kernels: capability {Capability.COMPILE.value}")

    def launch(
        self, kernel: Any, grid: int, block: int, arguments: Sequence[int | float], stream: Stream | None = None
    ) -> None:
        """Enqueue a kernel (capability COMPILE)."""
        raise NotSupported(f"{self.properties.name} launches no kernels: capability {Capability.COMPILE.value}")

    @abc.abstractmethod
    def close(self) -> None:
        """Free everything that is still held. Closing twice is allowed."""
