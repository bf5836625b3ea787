"""Streams as threads, and events as marks in their work."""

from __future__ import annotations

import collections
import itertools
import threading
import time
from collections.abc import Callable

from hal.interface.device import Event, Stream
from hal.interface.errors import StallTimeout, UsageError

_numbers = itertools.count()


class SysvStream(Stream):
    """A thread that does one piece of work after another. It begins with the first of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._work: collections.deque[Callable[[], None]] = collections.deque()
        self._enqueued = 0
        self._done = 0
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self.closed = False

    def enqueue(self, work: Callable[[], None]) -> None:
        """Do `work` after all that was enqueued before."""
        with self._changed:
            if self.closed:
                raise UsageError("the stream is closed")
            if self._thread is None:
                name = f"hal-sysv-stream-{next(_numbers)}"
                self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._thread.start()
            self._work.append(work)
            self._enqueued += 1
            self._changed.notify_all()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._work and not self.closed:
                    self._changed.wait()
                if not self._work:
                    return
                work = self._work.popleft()
            error = None
            try:
                work()
            except BaseException as raised:
                error = raised
            del work  # with what it holds
            with self._changed:
                self._error = self._error or error
                self._done += 1
                self._changed.notify_all()
            del error

    def synchronize(self, timeout: float) -> None:
        """Block until all work enqueued so far is done; `StallTimeout` after `timeout` seconds."""
        with self._changed:
            wanted = self._enqueued
            if not self._changed.wait_for(lambda: self._done >= wanted, max(timeout, 0.0)):
                left = wanted - self._done
                raise StallTimeout(f"after {timeout:g} s a stream has {left} of {wanted} pieces of work to do")
            error, self._error = self._error, None
        if error is not None:
            raise error

    def query(self) -> bool:
        """Whether all work enqueued so far is done."""
        with self._changed:
            return self._done == self._enqueued

    def close(self) -> None:
        """Finish the work enqueued so far, and end the thread."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()


def own(stream: Stream) -> SysvStream:
    """The stream as one of this backend; `UsageError` where it is another's, or closed."""
    if not isinstance(stream, SysvStream):
        raise UsageError(f"a stream of the backend sysv is needed, not a {type(stream).__name__}")
    if stream.closed:
        raise UsageError("the stream is closed")
    return stream


class _Mark:
    def __init__(self) -> None:
        self.reached = threading.Event()
        self.when = 0.0

    def reach(self) -> None:
        self.when = time.perf_counter()
        self.reached.set()

    def wait(self) -> None:
        self.reached.wait()


class SysvEvent(Event):
    """A mark, of which each recording makes another one."""

    def __init__(self) -> None:
        self._mark: _Mark | None = None

    def record(self, stream: Stream) -> None:
        """Mark the end of the work enqueued so far."""
        mark = _Mark()
        own(stream).enqueue(mark.reach)
        self._mark = mark

    def wait(self, stream: Stream) -> None:
        """Let later work on `stream` wait for the mark that there is now."""
        waiting, mark = own(stream), self._mark
        if mark is not None and not mark.reached.is_set():
            waiting.enqueue(mark.wait)

    def synchronize(self, timeout: float) -> None:
        """Block until the mark is reached."""
        mark = self._mark
        if mark is not None and not mark.reached.wait(max(timeout, 0.0)):
            raise StallTimeout(f"after {timeout:g} s a stream has not reached the mark of an event")

    def elapsed(self, later: Event) -> float:
        """Seconds from this mark to that of `later`."""
        if not isinstance(later, SysvEvent):
            raise UsageError(f"an event of the backend sysv is needed, not a {type(later).__name__}")
        return later._when() - self._when()

    def _when(self) -> float:
        mark = self._mark
        if mark is None or not mark.reached.is_set():
            raise UsageError(f"the event was {'never recorded' if mark is None else 'not reached yet'}")
        return mark.when
