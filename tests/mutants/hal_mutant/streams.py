"""Streams and events."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from hal.interface.device import Event as AnyEvent
from hal.interface.device import Stream as AnyStream
from hal.interface.errors import BackendUnavailable, StallTimeout, UsageError
from hal_host.streams import HostStream
from hal_mutant.catalogue import breaks
from hal_mutant.parts import Device, Event, Stream, Work


@breaks("HAL-STR-001", "The order of a stream is ignored: of two pieces of work the second is done first.")
class TwoAtATime(Stream):
    held: Work | None = None

    def enqueue(self, work: Work) -> None:
        held, self.held = self.held, None
        if held is None and not self._closed:
            self.held = work
        else:
            super().enqueue(work)
            if held is not None:
                super().enqueue(held)

    def _all(self) -> None:
        if (held := self.held) is not None:
            self.held = None
            super().enqueue(held)

    def synchronize(self, timeout: float) -> None:
        self._all()
        super().synchronize(timeout)

    def query(self) -> bool:
        self._all()
        return super().query()

    def close(self) -> None:
        self._all()
        super().close()


@breaks("HAL-STR-002", "`synchronize` returns early: it waits for half of the work.")
class HalfTheWork(Stream):
    def __init__(self) -> None:
        super().__init__()
        self.all: list[Future[None]] = []

    def enqueue(self, work: Work) -> None:
        super().enqueue(work)
        assert self._last is not None
        self.all.append(self._last)

    def synchronize(self, timeout: float) -> None:
        if self.all:
            last, self._last = self._last, self.all[len(self.all) // 2]
            try:
                super().synchronize(timeout)
            finally:
                self._last = last


@breaks("HAL-STR-003", "The deadline of a stream is ignored.")
class EndlessPatience(Stream):
    def synchronize(self, timeout: float) -> None:
        super().synchronize(600)


@breaks("HAL-STR-004", "What a stream has not done when a deadline passes is never done.")
class GivesUp(Stream):
    deadlines = 0

    def enqueue(self, work: Work) -> None:
        then = self.deadlines
        super().enqueue(lambda: work() if then == self.deadlines else None)

    def synchronize(self, timeout: float) -> None:
        try:
            super().synchronize(timeout)
        except StallTimeout:
            self.deadlines += 1
            raise


@breaks("HAL-STR-005", "A stream always says that it is done.")
class AlwaysDone(Stream):
    def query(self) -> bool:
        return True


@breaks("HAL-STR-006", "A stream that has had no work is not done.")
class NotDoneYet(Stream):
    def query(self) -> bool:
        return self._last is not None and super().query()


@breaks("HAL-STR-007", "Closing a stream drops its work.")
class DropsItsWork(Stream):
    def close(self) -> None:
        self._worker.shutdown(cancel_futures=True)
        super().close()


@breaks("HAL-STR-008", "A stream that is closed does work at once.")
class WorksWhenClosed(Stream):
    def enqueue(self, work: Work) -> None:
        if self._closed:
            work()
        else:
            super().enqueue(work)


@breaks("HAL-STR-009", "A stream of another kind is taken for none.")
class TakesAnyStream(Device):
    def _do(self, work: Work, stream: AnyStream | None, nbytes: int) -> None:
        super()._do(work, stream if isinstance(stream, HostStream) else None, nbytes)


_worker = ThreadPoolExecutor(1)


@breaks("HAL-STR-011", "All streams are one.")
class OneWorker(Stream):
    def __init__(self) -> None:
        super().__init__()
        self._worker = _worker

    def close(self) -> None:
        self._closed = True
        if self._last is not None:
            self._last.result()


@breaks("HAL-STR-012", "There are eight streams and no more.")
class EightStreams(Device):
    def create_stream(self) -> AnyStream:
        if len(self._streams) == 8:
            raise BackendUnavailable("no more streams")
        return super().create_stream()


@breaks("HAL-STR-013", "Errors in the arguments of enqueued work are found when it is done.")
class LateErrors(Device):
    def fill(self, dst: int, value: int, nbytes: int, stream: AnyStream | None = None) -> None:
        fill = partial(super().fill, dst, value, nbytes)
        if isinstance(stream, HostStream):
            stream.enqueue(fill)
        else:
            fill(stream)


@breaks("HAL-EVT-001", "An event is reached when it is recorded.")
class RecordedEarly(Event):
    def record(self, stream: AnyStream) -> None:
        super().record(stream)
        assert self._reached is not None
        self._reached.set()
        self._time.append(time.perf_counter())


@breaks("HAL-EVT-002", "A stream does not wait for an event.")
class WaitsForNothing(Event):
    def wait(self, stream: AnyStream) -> None:
        if not isinstance(stream, HostStream):
            super().wait(stream)


@breaks("HAL-EVT-003", "An event that was never recorded is never reached.")
class NeverReached(Event):
    def synchronize(self, timeout: float) -> None:
        if self._reached is None:
            raise StallTimeout("not reached")
        super().synchronize(timeout)


@breaks("HAL-EVT-004", "A wait is for the mark that the event has when the stream comes to it.")
class FollowsTheMark(Event):
    def wait(self, stream: AnyStream) -> None:
        if isinstance(stream, HostStream):
            stream.enqueue(lambda: None if self._reached is None else [self._reached.wait()].clear())


@breaks("HAL-EVT-005", "The wrong class of error where an event is not reached in time.")
class ErrorOfTheLanguage(Event):
    def synchronize(self, timeout: float) -> None:
        try:
            super().synchronize(timeout)
        except StallTimeout as error:
            raise TimeoutError(error.message) from None


@breaks("HAL-EVT-006", "The time between events is never negative.")
class AbsoluteTime(Event):
    def elapsed(self, later: AnyEvent) -> float:
        return abs(super().elapsed(later))


@breaks("HAL-EVT-007", "The time to an event that is not reached is none.")
class NoTime(Event):
    def elapsed(self, later: Any) -> float:
        try:
            return super().elapsed(later)
        except UsageError:
            return 0.0


@breaks("HAL-EVT-008", "`wait` of an event waits itself.")
class WaitsHere(Event):
    def wait(self, stream: AnyStream) -> None:
        self.synchronize(600)
        super().wait(stream)
