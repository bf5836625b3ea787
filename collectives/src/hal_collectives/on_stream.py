"""Calls on a stream: enqueued, not run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hal.interface.executor import Executable, FastCalls
from hal.plan.collective import Collective
from hal_collectives.arguments import Arguments
from hal_collectives.buffers import Buffer
from hal_collectives.caller import NOT_REMEMBERED, Caller, Remember
from hal_collectives.work import Queue


class StreamCaller(Caller):
    """Makes the calls of a communicator on a stream. It shares all that it has with the communicator's own caller."""

    def __init__(self, caller: Caller, stream: Any, arguments: Arguments) -> None:
        self.__dict__.update(caller.__dict__)
        self._own = caller
        self._stream = stream
        self.arguments = arguments
        self._tables = {}

    def table(self, collective: Collective) -> FastCalls | None:
        """None: calls on streams are not remembered."""
        return None

    def launch(
        self,
        executable: Executable,
        operation: str,
        src: Buffer | None,
        dst: Buffer | None,
        async_op: bool,
        timeout: float | None,
        remember: Remember = NOT_REMEMBERED,
        *,
        queue: Queue | None = None,
    ) -> Any:
        """Enqueue what was prepared, after everything that is pending in its queue; the output."""
        if async_op:
            raise self.arguments.error(operation, "async_op is for calls without a stream: this one returns at once")
        seconds = self.arguments.seconds(operation, self.group.timeout if timeout is None else timeout)
        place = (src.address, src.nbytes) if src else (0, 0)
        target = (dst.address, dst.nbytes) if dst else (0, 0)
        queue = queue or self._queue
        queue.run(lambda: executable.enqueue(*place, *target, seconds, self._stream), operation)
        self._own.enqueued[id(queue)] = executable
        return dst.given if dst else None

    def copied(self, src: Buffer, *, keep: bool) -> Buffer:
        """Refused: the copy would not be ordered."""
        raise self.arguments.error("all_to_all", "x and out are the same: on a stream they must be apart")

    def gathered(self, executable: Executable, operation: str, row: Sequence[int], timeout: float | None) -> list[Any]:
        """Refused: the host reads what the ranks tell each other."""
        raise self.arguments.error(
            operation, "counts that differ are told between the ranks first: call it without a stream"
        )

    def check_open(self, operation: str) -> None:
        """See `Caller.check_open`."""
        self._own.check_open(operation)

    def check(self) -> None:
        """See `Caller.check`."""
        self._own.check()
