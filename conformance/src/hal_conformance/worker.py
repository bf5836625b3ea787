"""A process that holds one rank, or all of them as threads, and runs their parts of tests one after another."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
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

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def main(connection: Connection, place: Place, ranks: list[int], log: Log) -> None:
    """Take tasks from `connection` until it is closed; one answer for each rank and task.

    The main thread only listens, so that the process ends at once when its conductor does, whatever the ranks are at.
    What they print, and the stacks of a crash, go to `log`.
    """
    _outlive_nobody()
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


def _outlive_nobody() -> None:
    """End with the conductor, also where a rank keeps the interpreter's lock for ever; Ctrl-C is for the conductor.

    This process is the child of a server that ends with the conductor. Systems other than Linux have no such order:
    there a process ends when its main thread finds the connection closed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        server = os.getppid()
        if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != server:
            os._exit(1)


def _redirect(log: Log) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(log.descriptor, stream)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    faulthandler.enable(file=sys.stderr)
