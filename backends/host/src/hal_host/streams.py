"""Streams and events of the host device: a stream is a thread that works through a queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout

from hal.interface.device import Event, Stream
from hal.interface.errors import StallTimeout, UsageError


class HostStream(Stream):
    """One worker thread, started with the first work."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="hal-stream")
        self._last: Future[None] | None = None
        self._error: BaseException | None = None
        self._closed = False

    def enqueue(self, work: Callable[[], None]) -> None:
        """Run `work` after everything enqueued before."""
        if self._closed:
            raise UsageError("this stream is closed")
        self._last = self._worker.submit(self._run, work)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._error = self._error or error

    def synchronize(self, timeout: float) -> None:
        """See `Stream.synchronize`."""
        if self._last is not None:
            try:
                self._last.result(timeout)
            except FutureTimeout:
                raise StallTimeout(f"work on a stream was not done after {timeout} s") from None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def query(self) -> bool:
        """See `Stream.query`."""
        return self._last is None or self._last.done()

    def close(self) -> None:
        """See `Stream.close`."""
        self._closed = True
        self._worker.shutdown()


class HostEvent(Event):
    """A mark in a stream, with the time at which it was reached."""

    def __init__(self) -> None:
        self._reached: threading.Event | None = None
        self._time: list[float] = []

    def record(self, stream: Stream) -> None:
        """See `Event.record`."""
        reached, at = threading.Event(), []  # type: tuple[threading.Event, list[float]]
        self._reached, self._time = reached, at

        def mark() -> None:
            at.append(time.perf_counter())
            reached.set()

        _host(stream).enqueue(mark)

    def wait(self, stream: Stream) -> None:
        """See `Event.wait`."""
        if self._reached is not None:
            reached = self._reached
            _host(stream).enqueue(lambda: void(reached.wait()))

    def synchronize(self, timeout: float) -> None:
        """See `Event.synchronize`."""
        if self._reached is not None and not self._reached.wait(timeout):
            raise StallTimeout(f"an event was not reached after {timeout} s")

    def elapsed(self, later: Event) -> float:
        """See `Event.elapsed`."""
        if not isinstance(later, HostEvent) or not self._time or not later._time:
            raise UsageError("the time between events is known when both were recorded and reached")
        return later._time[0] - self._time[0]


def void(_: object) -> None:
    """Drop a result."""


def _host(stream: Stream) -> HostStream:
    if not isinstance(stream, HostStream):
        raise UsageError(f"a stream of the host device is needed, not {type(stream).__name__}")
    return stream
