"""Streams, events and graphs. Streams of other libraries are taken as they are."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hal.interface.device import Event, Graph, Stream
from hal.interface.errors import StallTimeout, UsageError

if TYPE_CHECKING:
    from hal.gpu.device import GpuDevice

_MOMENT = 2e-5
_LONGEST_NAP = 1e-3


class GpuStream(Stream):
    """A stream of one device. One that another library made (`owned` false) is not freed."""

    def __init__(self, device: GpuDevice, handle: int, *, owned: bool) -> None:
        self.device = device
        self.handle = handle
        self._owned = owned
        self._closed = False
        self.checks: dict[int, Callable[[], None]] = {}
        """What raises the errors of collectives that were enqueued here."""

    def usable(self, device: GpuDevice) -> int:
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
        with self.device.current(), self.device.driver.doing("work on a stream has failed"):
            return self.device.driver.stream_query(self.handle)

    def close(self) -> None:
        """See `Stream.close`."""
        if self._closed:
            return
        self._closed = True
        if self._owned:
            with self.device.current(), self.device.driver.doing("closing a stream"):
                self.device.driver.stream_synchronize(self.handle)
                self.device.driver.stream_destroy(self.handle)

    @contextlib.contextmanager
    def capture(self) -> Iterator[GpuGraph]:
        """See `Stream.capture`."""
        driver, handle = self.device.driver, self.usable(self.device)
        graph = GpuGraph(self.device)
        with self.device.current():
            with driver.doing("beginning a capture"):
                driver.capture_begin(handle)
            try:
                yield graph
            except BaseException:
                with contextlib.suppress(*driver.errors):
                    driver.capture_discard(handle)
                raise
            with driver.doing("ending a capture"):
                graph.handle = driver.capture_end(handle)


class GpuGraph(Graph):
    """Work that was captured. What it refers to, memory and executables, has to outlive it."""

    def __init__(self, device: GpuDevice) -> None:
        self._device = device
        self.handle = 0

    def launch(self, stream: Any) -> None:
        """See `Graph.launch`. Launches that communicate follow one another in one stream."""
        if not self.handle:
            raise UsageError("this graph is closed, or its capture has not ended")
        with self._device.current(), self._device.driver.doing("launching a graph"):
            self._device.driver.graph_launch(self.handle, self._device.stream(stream).handle)

    def close(self) -> None:
        """See `Graph.close`."""
        handle, self.handle = self.handle, 0
        if handle:
            with self._device.current(), self._device.driver.doing("freeing a graph"):
                self._device.driver.graph_destroy(handle)


class GpuEvent(Event):
    """An event of the driver."""

    def __init__(self, device: GpuDevice) -> None:
        self._device = device
        with device.current(), device.driver.doing("making an event"):
            self._handle = device.driver.event_create(timed=True)
        self._recorded = False
        self._captured = False

    def record(self, stream: Stream) -> None:
        """See `Event.record`."""
        handle = self._device.stream(stream).handle
        with self._device.current(), self._device.driver.doing("recording an event"):
            self._captured = self._device.driver.capturing(handle)
            self._device.driver.event_record(self._handle, handle)
        self._recorded = True

    def wait(self, stream: Stream) -> None:
        """See `Event.wait`."""
        handle = self._device.stream(stream).handle
        if self._recorded:
            with self._device.current(), self._device.driver.doing("waiting for an event"):
                self._device.driver.stream_wait(handle, self._handle)

    def synchronize(self, timeout: float) -> None:
        """See `Event.synchronize`."""
        if self._recorded:
            wait_for(self._reached, timeout, "an event was not reached")

    def elapsed(self, later: Event) -> float:
        """See `Event.elapsed`."""
        if not isinstance(later, GpuEvent) or not self._reached() or not later._reached():
            raise UsageError("the time between events is known when both were recorded and reached")
        with self._device.current(), self._device.driver.doing("reading the time between events"):
            return self._device.driver.event_elapsed(self._handle, later._handle)

    def _reached(self) -> bool:
        if not self._recorded:
            return False
        if self._captured:
            raise UsageError("this event was recorded while its stream was captured: it is a part of the graph alone")
        with self._device.current(), self._device.driver.doing("the work before an event has failed"):
            return self._device.driver.event_query(self._handle)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the driver may be on its way out
            self._device.driver.event_destroy(self._handle)


def wait_for(done: Callable[[], bool], timeout: float, what: str) -> None:
    """Return when `done` holds; `StallTimeout` after `timeout` seconds."""
    end, nap = time.monotonic() + timeout, _MOMENT
    while not done():
        if time.monotonic() >= end:
            raise StallTimeout(f"{what} after {timeout} s")
        time.sleep(nap)
        nap = min(nap * 1.5, _LONGEST_NAP)
