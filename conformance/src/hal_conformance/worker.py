"""A process that holds one rank, or all of them as threads, and runs their parts of tests one after another."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import importlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

from hal.bootstrap import Store
from hal.interface.errors import PeerFailure
from hal_conformance.answers import Answer, Place, Task, answer_for
from hal_conformance.log import Log
from hal_conformance.rank import TIMEOUT, Rank


def main(connection: Connection, lifeline: Connection, place: Place, ranks: list[int], log: Log) -> None:
    """Take tasks from `connection` until it is closed; one answer for each rank and task.

    The main thread only listens. The process ends at once when its conductor does, or closes `lifeline`, whatever the
    ranks are at. What they print, and the stacks of a crash, go to `log`.
    """
    _end_with(lifeline)
    _redirect(log)
    tasks: dict[int, queue.SimpleQueue[Task]] = {rank: queue.SimpleQueue() for rank in ranks}
    lock = threading.Lock()

    def answer(given: Answer) -> None:
        with lock:
            try:
                connection.send(given)
            except Exception as error:  # what a test returns has to be data
                connection.send(answer_for(given.number, given.rank, error))

    for rank in ranks:
        body = _Seat(rank, place, tasks[rank], answer)
        threading.Thread(target=body.serve, name=f"rank-{rank}", daemon=True).start()
    while True:
        try:
            task = connection.recv()
        except EOFError:
            os._exit(0)
        if task is None:  # the conductor wants to know where everybody stands
            faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
            sys.stderr.flush()
            answer(Answer(-1, -1, "returned"))
            continue
        for each in tasks.values():
            each.put(task)


class _Seat:
    """Where one rank sits: its connection to the store outlives its tests."""

    def __init__(
        self, rank: int, place: Place, tasks: queue.SimpleQueue[Task], answer: Callable[[Answer], None]
    ) -> None:
        self.rank = rank
        self.place = place
        self.tasks = tasks
        self.say = answer
        self._store: Store | None = None

    def store(self) -> Store:
        """The connection to the store, made when it is first needed."""
        if self._store is None:
            self._store = Store.connect(
                self.place.address, rank=self.rank, secret=self.place.secret, size=self.place.size, timeout=TIMEOUT
            )
        return self._store

    def serve(self) -> None:
        """Run tasks for ever."""
        while True:
            self.say(self.run(self.tasks.get()))

    def run(self, task: Task) -> Answer:
        """Run this rank's part of a test, and close what it has opened."""
        rank = Rank(self.rank, self.place, task, self.store, lambda: self.say(Answer(task.number, self.rank, "died")))
        try:
            module, _, name = task.function.partition(":")
            function = getattr(importlib.import_module(module), name)
            value = function(rank, **task.arguments)
            given = Answer(task.number, self.rank, "returned", value)
        except BaseException as error:
            consequence = isinstance(error, PeerFailure)
            given = answer_for(task.number, self.rank, error, consequence=consequence)
            with contextlib.suppress(Exception):
                rank.abort()
        try:
            rank.close()
        except BaseException as error:
            if given.ended == "returned":
                return answer_for(task.number, self.rank, error)
        return given


def _end_with(lifeline: Connection) -> None:
    """End when the other end of `lifeline` is closed, which nothing is sent on; Ctrl-C is for the conductor alone.

    The kernel sees to it with a signal that nobody catches, so that it works where a rank keeps the interpreter's lock
    for ever. (A signal on the death of the parent would not do: that is a server that outlives the conductor.)
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if lifeline.poll(0):
        os._exit(1)


def _redirect(log: Log) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(log.descriptor, stream)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    faulthandler.enable(file=sys.stderr)
