import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hal.bootstrap import Store, StoreServer

DEADLINE = 30.0
SECRET = "a secret of this test"


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + DEADLINE
    while left := [thread.name for thread in threading.enumerate() if thread not in before and "hal-" in thread.name]:
        assert time.monotonic() < deadline, f"threads left running: {left}"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("HAL_JOB_SECRET", raising=False)


@pytest.fixture
def together():
    """Runs `call(rank)` for each of `ranks` (a number or a list) in threads; results or exceptions in that order."""

    def run(ranks, call):
        ranks = list(range(ranks)) if isinstance(ranks, int) else list(ranks)

        def guarded(rank):
            try:
                return call(rank)
            except Exception as error:
                return error

        with ThreadPoolExecutor(len(ranks)) as pool:
            return list(pool.map(guarded, ranks, timeout=2 * DEADLINE))

    return run


class Job:
    """A server and stores of some of its ranks."""

    def __init__(self, size, stack, **options):
        self.server = stack.enter_context(StoreServer(size, secret=SECRET, **options))
        self.size = size
        self._stack = stack
        self.stores = {}

    def join(self, *ranks, **options):
        for rank in ranks:
            options.setdefault("timeout", DEADLINE)
            store = Store.connect(self.server.address, rank=rank, secret=SECRET, **options)
            self.stores[rank] = self._stack.enter_context(store)
        return self.stores[ranks[-1]]

    def given(self, name, kind="all_gather"):
        """The ranks whose values in an all_gather, or another kind of gather, have come to the server."""
        gather = self.server._table._gathers.get(f"{kind} {name}")
        return set() if gather is None else set(gather.values)

    def __getitem__(self, rank):
        return self.stores[rank]


@pytest.fixture
def make_job():
    """Makes a `Job` of `size` ranks, of which `joined` (default: all) are connected."""
    with contextlib.ExitStack() as stack:

        def make(size, joined=None, **options):
            job = Job(size, stack, **options)
            for rank in range(size) if joined is None else joined:
                job.join(rank)
            return job

        yield make


@pytest.fixture
def wait_until():
    """Waits until a condition holds, and fails where it does not in time."""

    def wait(condition, what="the condition"):
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come to hold"
            time.sleep(0.01)

    return wait


def drop(store):
    """End a store's connection without goodbye, as a dying process does."""
    store._sock.shutdown(2)


@pytest.fixture
def drop_connection():
    return drop
