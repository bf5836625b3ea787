"""Worlds: the ranks of tests, as processes or as threads of one, conducted from outside and replaced when they break.

Everything that touches the backend happens in worker processes, so that one which hangs or crashes costs the test at
hand alone. Workers are forked from a server process in which nothing of the backend was ever loaded.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import secrets
import tempfile
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import attrs

from hal.bootstrap import StoreServer
from hal.interface.errors import UsageError
from hal_conformance.answers import Answer, Outcome, Place, Task
from hal_conformance.log import Log
from hal_conformance.worker import main

_PRELOADED = ["pytest", "hal.cli", "hypothesis.stateful", "hal_conformance.worker", "hal_conformance.suite.preload"]
_GRACE = 10.0
"""Seconds that the other ranks have when one has failed."""
_LOG_LINES = 40
_LIVE_WORLDS = 4


@attrs.frozen
class Verdict:
    """How a test ended on all ranks. `answers` are by rank, None where there was none; `log` is what workers wrote."""

    outcome: Outcome
    why: str
    answers: list[Answer | None]
    log: str = ""
    value: Any = None
    """What the ranks returned, which is the same on all."""

    @property
    def refused(self) -> bool:
        """Whether it ended with `NotSupported` on every rank."""
        return all(answer is not None and answer.ended == "refused" for answer in self.answers)


class World:
    """The ranks of some size and form."""

    def __init__(self, place: Place) -> None:
        secret = secrets.token_hex(16)
        self._server = StoreServer(place.size, secret=secret).start()
        self.place = attrs.evolve(place, address=self._server.address, secret=secret)
        self._members = [list(range(place.size))] if place.threads else [[rank] for rank in range(place.size)]
        self._logs = [Log() for _ in self._members]
        self._numbers = itertools.count(1)
        self._processes = []
        self._connections = []
        self._lifelines = []
        context = multiprocessing.get_context("forkserver")
        for ranks, log in zip(self._members, self._logs, strict=True):
            here, there = context.Pipe()
            held, lifeline = context.Pipe(duplex=False)[::-1]
            process = context.Process(target=main, args=(there, lifeline, self.place, ranks, log), daemon=True)
            process.start()
            there.close()
            lifeline.close()
            self._lifelines.append(held)
            self._processes.append(process)
            self._connections.append(here)
        self.broken = False
        self._late: set[int] = set()

    def run(self, function: str, arguments: Mapping[str, Any], *, seed: str, limit: float) -> Verdict:
        """Run one test on all ranks. What is left of a world that `broken` says is so only serves to be closed."""
        task = Task(next(self._numbers), function, arguments, seed)
        self._late = {rank for rank in range(self.place.size) if self._exit_code(rank) is not None}
        answers: list[Answer | None] = [None] * self.place.size
        for connection in self._connections:
            try:
                connection.send(task)
            except OSError:
                self.broken = True  # it has ended between two tests; the sentinel says so below
        deadline = time.monotonic() + limit
        waiting = dict(zip(self._connections, self._members, strict=True))
        while waiting and (left := deadline - time.monotonic()) > 0:
            for ready in multiprocessing.connection.wait(list(waiting), left):
                assert isinstance(ready, multiprocessing.connection.Connection)
                try:
                    answer: Answer = ready.recv()
                except (EOFError, OSError):
                    del waiting[ready]
                    self.broken = True
                    deadline = min(deadline, time.monotonic() + _GRACE)
                    continue
                answers[answer.rank] = answer
                if answer.ended != "returned":
                    deadline = min(deadline, time.monotonic() + _GRACE + limit * (answer.ended == "died"))
                if all(answers[rank] is not None for rank in waiting[ready]):
                    del waiting[ready]
        verdict = self._judge(answers)
        if verdict.outcome in ("timeout", "crash"):
            self.broken = True
        return verdict

    def _judge(self, answers: list[Answer | None]) -> Verdict:
        given = [answer for answer in answers if answer is not None]
        ended = {answer.ended for answer in given}
        self.broken |= "died" in ended
        own = [answer for answer in given if answer.ended == "failed" and not answer.consequence]
        if own:
            return Verdict("fail", f"rank {own[0].rank} failed", answers, self._log())
        missing = [rank for rank, answer in enumerate(answers) if answer is None]
        if missing:
            dead = [rank for rank in missing if self._exit_code(rank) is not None]
            if dead:
                when = " after the test before, and before this one" if dead[0] in self._late else ""
                why = f"the process of rank {dead[0]} ended{when}: {_exit_text(self._exit_code(dead[0]))}"
                return Verdict("crash", why, answers, self._log())
            standing = ", ".join(str(rank) for rank in missing)
            return Verdict("timeout", f"no answer in time of rank {standing}", answers, self._log(stacks=True))
        if "failed" in ended:
            return Verdict("fail", "ranks failed because others seemed to have", answers, self._log())
        if len(ended - {"died"}) > 1:
            return Verdict("fail", "ranks disagree on the outcome", answers, self._log())
        if "refused" in ended:
            return Verdict("fail", "refused as not supported", answers)
        if "resource" in ended:
            return Verdict("resource", given[0].what, answers)
        values = [answer.value for answer in given if answer.ended == "returned"]
        if any(value != values[0] for value in values):
            return Verdict("fail", "ranks disagree on what they have seen", answers, self._log())
        return Verdict("pass", "", answers, value=values[0] if values else None)

    def _exit_code(self, rank: int) -> int | None:
        process = self._processes[0 if self.place.threads else rank]
        process.join(1.0 if self.broken else 0.0)
        code: int | None = process.exitcode
        return code

    def _log(self, *, stacks: bool = False) -> str:
        if stacks:
            self._ask_for_stacks()
        texts = []
        for ranks, log in zip(self._members, self._logs, strict=True):
            lines = log.text().splitlines()
            texts += [f"rank {', '.join(map(str, ranks))} wrote: {line}" for line in lines[-_LOG_LINES:]]
        return "\n".join(texts)

    def _ask_for_stacks(self) -> None:
        for connection in self._connections:
            with contextlib.suppress(OSError, EOFError):
                connection.send(None)
        end = time.monotonic() + 2.0
        for connection in self._connections:
            with contextlib.suppress(OSError, EOFError):
                if connection.poll(max(0.0, end - time.monotonic())):
                    connection.recv()

    def close(self) -> None:
        """End the ranks, also those that are stuck."""
        for connection in (*self._connections, *self._lifelines):
            connection.close()
        for process in self._processes:
            if self.broken:
                process.kill()
            process.join(_GRACE)
            if process.exitcode is None:
                process.kill()
                process.join(_GRACE)
            process.close()
        self._server.close()
        for log in self._logs:
            log.close()


class Worlds:
    """The worlds that are alive, made when they are first needed; the one used longest ago makes room for another."""

    def __init__(self, backend: str, *, quick: bool) -> None:
        self._place = Place(backend, 1, False, "", "", quick)
        self._live: OrderedDict[tuple[int, bool], World] = OrderedDict()
        multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)

    def get(self, size: int, *, threads: bool) -> World:
        """A world that is whole."""
        key = (size, threads)
        world = self._live.pop(key, None)
        if world is not None and world.broken:
            world.close()
            world = None
        if world is None:
            while len(self._live) >= _LIVE_WORLDS:
                self._live.popitem(last=False)[1].close()
            _serve()
            world = World(attrs.evolve(self._place, size=size, threads=threads))
        self._live[key] = world
        return world

    def close(self) -> None:
        """End all ranks."""
        while self._live:
            self._live.popitem()[1].close()


def _serve() -> None:
    """Have the server of processes running; `UsageError` where it has no place for its socket."""
    try:
        multiprocessing.forkserver.ensure_running()
    except OSError as error:
        folder = tempfile.gettempdir()
        raise UsageError(
            f"ranks cannot be started with {folder} as the folder for temporary files: {error}; "
            "name another one, with a short name, by TMPDIR"
        ) from error


def _exit_text(code: int | None) -> str:
    return f"killed by signal {-code}" if code is not None and code < 0 else f"exit status {code}"
