"""Rank processes that a test starts, watches and hurts."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hal.bootstrap import StoreServer

DEADLINE = 60.0
"""Seconds for anything that is not itself about time; the machine may be busy."""

_PROGRAM = Path(__file__).parent / "program.py"

Event = dict[str, Any]


class Rank:
    """One process. What it says, a line of JSON each, is kept in `events`. Its command follows `before`."""

    def __init__(
        self, environment: dict[str, str], scenario: str, parameters: Event, before: Sequence[str] = ()
    ) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [*before, sys.executable, str(_PROGRAM), scenario, json.dumps(parameters)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()

    def expect(self, event: str, timeout: float = DEADLINE) -> Event:
        """The first event of this name, once it is there."""

        def found() -> Event | None:
            return next((e for e in self.events if e["event"] == event), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self.process.poll() is not None, timeout / 2)
            self._changed.wait_for(lambda: found() is not None, timeout / 2)
            result = found()
        assert result is not None, f"no {event!r} (exit status {self.process.poll()}), but {self.events}"
        return result

    def kill(self, signum: int = signal.SIGKILL) -> float:
        """Send a signal; the time at which it was sent."""
        now = time.monotonic()
        self.process.send_signal(signum)
        return now

    def wait(self) -> int:
        """The exit status."""
        return self.process.wait(DEADLINE)

    def end(self) -> None:
        """Kill what still runs."""
        self.process.kill()
        self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Job:
    """All ranks of a job that run one scenario of `program.py`, and the store where they meet.

    `hosts` has a letter for each rank, the host that it takes itself to be on. `settings` are those of all ranks.
    """

    def __init__(
        self,
        size: int,
        scenario: str,
        hosts: str | None = None,
        settings: dict[str, str] | None = None,
        **parameters: Any,
    ) -> None:
        secret = secrets.token_hex(16)
        self._server = StoreServer(size, secret=secret)
        self._server.start()
        common = {k: v for k, v in os.environ.items() if not k.startswith("HAL_")} | {
            "HAL_SIZE": str(size),
            "HAL_LOCAL_SIZE": str(size),
            "HAL_STORE": self._server.address,
            "HAL_STORE_EXTERNAL": "1",
            "HAL_JOB_SECRET": secret,
        }
        if hosts is not None:
            common["HAL_TCP_INTERFACE"] = "127.0.0.1"
        common |= settings or {}
        self.ranks = [
            Rank(
                common
                | {"HAL_RANK": str(r), "HAL_LOCAL_RANK": str(r)}
                | ({} if hosts is None else {"HAL_HOST_ID": hosts[r]}),
                scenario,
                parameters,
            )
            for r in range(size)
        ]

    def expect(self, event: str, ranks: Iterable[int] | None = None, timeout: float = DEADLINE) -> list[Event]:
        """This event of every rank, or of those given."""
        deadline = time.monotonic() + timeout
        chosen = self.ranks if ranks is None else [self.ranks[r] for r in ranks]
        return [rank.expect(event, max(0.1, deadline - time.monotonic())) for rank in chosen]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for rank in self.ranks:
            rank.end()
        self._server.close()
