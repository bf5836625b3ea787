"""Streams, events and graphs. Streams of other libraries are taken as they are."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hal.interface.device import Event, Stream
from hal.interface.errors import BackendUnavailable, StallTimeout, UsageError
from hal_cuda import driver

if TYPE_CHECKING:
    from hal_cuda.device import CudaDevice

_MOMENT = 2e-5
_LONGEST_NAP = 1e-3


class CudaStream(Stream):
    """A stream of one device. One that another library made (`owned` false) is not freed."""

    def __init__(self, device: CudaDevice, handle: int, *, owned: bool) -> None:
        self.device = device
        self.handle = handle
        self._owned = owned
        self._closed = False
        self.checks: dict[int, Callable[[], None]] = {}
        """What raises the errors of collectives that were enqueued here."""

    def usable(self, device: CudaDevice) -> int:
        """The handle; `UsageError` where the stream is closed or another device's."""
        if self._closed:
            raise UsageError("this stream is closed")
        if self.device.index != device.index:
            raise UsageError(f"a stream of device {self.device.index} is no stream of device {device.index}")
        return self.handle

    def synchronize(self, timeout: float) -> None:
        """See `Stream.synchronize`."""
        if not self._closed:
            wait_for(lambda: self.query(), timeout, "work on a stream was not done")
        for check in [self.checks.pop(key) for key in list(self.checks)]:
            check()

    def query(self) -> bool:
        """See `Stream.query`."""
        if self._closed:
            return True
        with self.device.current():
            return reached(self.device.cuda, self.device.cuda.runtime.streamQuery(self.handle), "work on a stream")

    def close(self) -> None:
        """See `Stream.close`."""
        if self._closed:
            return
        self._closed = True
        if self._owned:
            with self.device.current(), self.device.cuda.doing("closing a stream"):
                self.device.cuda.runtime.streamSynchronize(self.handle)
                self.device.cuda.runtime.streamDestroy(self.handle)

    @contextlib.contextmanager
    def capture(self) -> Iterator[CudaGraph]:
        """Record what is enqueued here inside the `with` to a graph, which can be launched after it."""
        runtime, handle = self.device.cuda.runtime, self.usable(self.device)
        graph = CudaGraph(self.device)
        with self.device.current():
            with self.device.cuda.doing("beginning a capture"):
                runtime.streamBeginCapture(handle, driver.CAPTURE_THREAD_LOCAL)
            try:
                yield graph
            except BaseException:
                with contextlib.suppress(*self.device.cuda.errors):
                    runtime.graphDestroy(runtime.streamEndCapture(handle))
                raise
            with self.device.cuda.doing("ending a capture"):
                made = runtime.streamEndCapture(handle)
                try:
                    graph.handle = int(runtime.graphInstantiate(made))
                finally:
                    runtime.graphDestroy(made)


class CudaGraph:
    """Work that was captured. What it refers to, memory and executables, has to outlive it."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self.handle = 0

    def launch(self, stream: Any) -> None:
        """Enqueue all of it. Launches that communicate follow one another in one stream, on every rank alike."""
        if not self.handle:
            raise UsageError("this graph is closed, or its capture has not ended")
        with self._device.current(), self._device.cuda.doing("launching a graph"):
            self._device.cuda.runtime.graphLaunch(self.handle, self._device.stream(stream).handle)

    def close(self) -> None:
        """Free it. Closing twice is allowed."""
        handle, self.handle = self.handle, 0
        if handle:
            with self._device.current(), self._device.cuda.doing("freeing a graph"):
                self._device.cuda.runtime.graphExecDestroy(handle)


class CudaEvent(Event):
    """A CUDA event."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        with device.current(), device.cuda.doing("making an event"):
            self._handle = int(device.cuda.runtime.eventCreate())
        self._recorded = False

    def record(self, stream: Stream) -> None:
        """See `Event.record`."""
        handle = self._device.stream(stream).handle
        with self._device.current(), self._device.cuda.doing("recording an event"):
            self._device.cuda.runtime.eventRecord(self._handle, handle)
        self._recorded = True

    def wait(self, stream: Stream) -> None:
        """See `Event.wait`."""
        handle = self._device.stream(stream).handle
        if self._recorded:
            with self._device.current(), self._device.cuda.doing("waiting for an event"):
                self._device.cuda.runtime.streamWaitEvent(handle, self._handle)

    def synchronize(self, timeout: float) -> None:
        """See `Event.synchronize`."""
        if self._recorded:
            wait_for(self._reached, timeout, "an event was not reached")

    def elapsed(self, later: Event) -> float:
        """See `Event.elapsed`."""
        if not isinstance(later, CudaEvent) or not self._reached() or not later._reached():
            raise UsageError("the time between events is known when both were recorded and reached")
        with self._device.current(), self._device.cuda.doing("reading the time between events"):
            return float(self._device.cuda.runtime.eventElapsedTime(self._handle, later._handle)) / 1e3

    def _reached(self) -> bool:
        if not self._recorded:
            return False
        with self._device.current():
            return reached(self._device.cuda, self._device.cuda.runtime.eventQuery(self._handle), "an event")

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the driver may be on its way out
            self._device.cuda.runtime.eventDestroy(self._handle)


def reached(cuda: driver.Cuda, status: int, what: str) -> bool:
    """Whether a query says done; `BackendUnavailable` where what ran has failed."""
    if status in (0, driver.NOT_READY):
        return status == 0
    raise BackendUnavailable(f"{what} has failed: {cuda.runtime.CUDARuntimeError(status)}")


def wait_for(done: Callable[[], bool], timeout: float, what: str) -> None:
    """Return when `done` holds; `StallTimeout` after `timeout` seconds."""
    end, nap = time.monotonic() + timeout, _MOMENT
    while not done():
        if time.monotonic() >= end:
            raise StallTimeout(f"{what} after {timeout} s")
        time.sleep(nap)
        nap = min(nap * 1.5, _LONGEST_NAP)


def foreign_handle(stream: Any) -> tuple[int, int | None] | None:
    """The handle of another library's stream and its device, if that says; None where it is no CUDA stream."""
    if isinstance(stream, Stream):
        return None
    number = getattr(stream, "device_id", None)
    if number is None:
        number = getattr(stream, "device_index", getattr(getattr(stream, "device", None), "index", None))
    known = number if isinstance(number, int) and number >= 0 else None
    protocol = getattr(stream, "__cuda_stream__", None)
    if protocol is not None:
        version, handle = protocol() if callable(protocol) else protocol
        if version != 0:
            raise UsageError(f"a stream of version {version} of __cuda_stream__: 0 is known")
        return int(handle), known
    for name in ("cuda_stream", "ptr"):  # torch's, and CuPy's
        handle = getattr(stream, name, None)
        if isinstance(handle, int):
            return handle, known
    return None
