"""What holds for every test here: the packages tested are the installed ones, and nothing is left behind."""

from __future__ import annotations

import gc
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator

import hypothesis
import psutil
import pytest

# Before pytest gives the tests below the folder hal/ module names that begin with "hal": with the package known, that
# folder is not taken for it.
import hal  # noqa: F401

# an example may be slow where the machine is busy: what ends a test that hangs is pytest's time-out
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

GRACE = 10.0  # seconds; what is on its way out may take a moment on a busy machine
MARK = "PYTEST_LEAK_MARK"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What may take long comes first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: -_longest(item))


def _longest(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


def _children() -> set[psutil.Process]:
    tracker = multiprocessing.resource_tracker._resource_tracker._pid
    return {child for child in psutil.Process().children() if child.pid != tracker}


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.daemon}


def _shared_memory() -> set[str]:
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if target.startswith(("/memfd:", "/dev/shm/")):
            found.add(f"{fd} -> {target}")
    return found


def _own_segment() -> set[str]:
    """The one segment of this process, which the host backend keeps to the end; nothing may be allocated in it."""
    segment, executor = (sys.modules.get(f"hal_host.{name}") for name in ("segment", "executor"))
    if segment is None or segment._segment is None:
        return set()
    if executor is not None:
        executor.sweep()
    used = segment._segment.heap.used
    if used:
        pytest.fail(f"the tests left {used} bytes allocated in shared memory", pytrace=False)
    fd = segment._segment.arena.fd
    return {entry for entry in _shared_memory() if entry.startswith(f"{fd} ->")}


@pytest.fixture(autouse=True)
def nothing_keeps_running() -> Iterator[None]:
    """A test that leaves a child process or a thread behind fails; what it left is ended, for the sake of the next."""
    children, threads = _children(), _threads()
    yield
    left = _children() - children
    if left:
        _, left = psutil.wait_procs(left, timeout=GRACE)
    deadline = time.monotonic() + GRACE
    for thread in _threads() - threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    stuck = _threads() - threads
    described = [f"process {' '.join(process.cmdline())!r}" for process in left if process.is_running()]
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=GRACE)
    described += [f"thread {thread.name!r}" for thread in stuck]
    if described:
        pytest.fail(f"the test left running: {', '.join(described)}", pytrace=False)


@pytest.fixture(autouse=True, scope="session")
def signals_are_not_ignored() -> Iterator[None]:
    """A background job inherits ignored signals, and would hand them on to what the tests start and interrupt."""
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGHUP)}
    for signum, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if before[signum] is signal.SIG_IGN:
            signal.signal(signum, handler)
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture(autouse=True, scope="session")
def nothing_outlives_the_session() -> Iterator[None]:
    """Processes whose parent is gone and open shared memory, which no single test's check sees, fail the last test."""
    mark = os.environ[MARK] = uuid.uuid4().hex
    before = _shared_memory()
    yield
    gc.collect()
    memory = _shared_memory() - before - _own_segment()
    orphans = _marked(mark)
    _, orphans = psutil.wait_procs(orphans, timeout=GRACE)
    described = [f"process {' '.join(process.cmdline())!r}" for process in orphans if process.is_running()]
    for process in orphans:
        process.kill()
    described += [f"shared memory {description}" for description in memory]
    if described:
        pytest.fail(f"the tests left behind: {', '.join(described)}", pytrace=False)


def _marked(mark: str) -> list[psutil.Process]:
    """The processes, apart from this one, that were started during this session, by us or by our descendants."""
    tracker = multiprocessing.resource_tracker._resource_tracker._pid
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in (os.getpid(), tracker) and process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:  # gone, or another user's
            continue
    return found
