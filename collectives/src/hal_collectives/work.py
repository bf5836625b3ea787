"""Asynchronous calls: handles, and the threads that run them in the order in which they were made."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from hal.interface.errors import StallTimeout


class Work:
    """A collective under way. Its arrays must not be touched until `wait` has returned."""

    def __init__(self, future: Future[Any], operation: str) -> None:
        self._future = future
        self._operation = operation

    def wait(self, timeout: float | None = None) -> Any:
        """The result, once it is there. Raises what the call raised; `StallTimeout` after `timeout` seconds.

        Without `timeout` the call's own deadline holds. After a `StallTimeout` of this wait the call goes on.
        """
        try:
            return self._future.result(timeout)
        except FutureTimeout:
            if self._future.done():
                raise  # the call's own deadline
            raise StallTimeout(f"still running after {timeout} s", operation=self._operation) from None

    def done(self) -> bool:
        """Whether the call has ended, well or not."""
        return self._future.done()


class Queue:
    """Runs calls in order: in the caller's thread while nothing is pending, else in one thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: ThreadPoolExecutor | None = None
        self._last: Future[Any] | None = None

    @property
    def idle(self) -> bool:
        """Whether no asynchronous call is pending."""
        return self._last is None or self._last.done()

    def submit(self, call: Callable[[], Any], operation: str) -> Work:
        """Run `call` after all that were submitted before."""
        with self._lock:
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, thread_name_prefix="hal-collectives")
            self._last = self._worker.submit(call)
            return Work(self._last, operation)

    def run(self, call: Callable[[], Any], operation: str) -> Any:
        """Run `call` in order and return its result."""
        return call() if self.idle else self.submit(call, operation).wait()

    def close(self) -> None:
        """Wait for what is pending, and end the thread."""
        if self._worker is not None:
            self._worker.shutdown()
