"""What is left afterwards: nothing, however a job ends; and while it goes on, only what it still uses."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import hal_collectives as hc
from hal.interface.errors import StallTimeout
from hal_host import segment

from .calls import make
from .ranks import DEADLINE, Job
from .threads import on_each

MARK = "HAL_TEST_MARK"


class Traces:
    """What the processes of one test have, found by a mark in their environment; and what lies about in folders."""

    def __init__(self, folder: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.folder = folder
        self.shared = set(os.listdir("/dev/shm"))

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HAL_")}
        return kept | {MARK: self.mark, "TMPDIR": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def ranks(self) -> list[psutil.Process]:
        """Those that have shared memory mapped."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if any("memfd:hal" in m.path for m in process.memory_maps(grouped=True)):
                    found.append(process)
        return found

    def await_none(self) -> None:
        deadline = time.monotonic() + DEADLINE
        while left := self.processes():
            assert time.monotonic() < deadline, f"left running: {[p.cmdline() for p in left]}"
            time.sleep(0.05)
        assert set(os.listdir("/dev/shm")) <= self.shared
        assert not list(self.folder.rglob("*")), "files are left"


@pytest.fixture
def traces(tmp_path: Path) -> Iterator[Traces]:
    made = Traces(tmp_path)
    yield made
    for process in made.processes():
        process.kill()


@contextlib.contextmanager
def hal_run(
    traces: Traces, size: int, scenario: str, parameters: str, *options: str
) -> Iterator[subprocess.Popen[str]]:
    """`hal run` of a scenario, its output in a pipe."""
    program = [str(Path(__file__).parent / "program.py"), scenario, parameters]
    hal = str(Path(sys.executable).parent / "hal")
    command = [hal, "run", "-n", str(size), "--no-prefix", *program]
    process = subprocess.Popen(
        command, env=traces.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        yield process
        process.kill()
        process.wait(DEADLINE)


def await_ready(process: subprocess.Popen[str], size: int) -> None:
    assert process.stdout is not None
    for _ in range(size):
        line = process.stdout.readline()
        assert '"ready"' in line, line + process.stdout.read()


@pytest.mark.parametrize("whom", ["all ranks", pytest.param("the launcher", marks=pytest.mark.slow)])
def test_nothing_is_left_after_sigkill(traces: Traces, whom: str) -> None:
    with hal_run(traces, 3, "repeat", '{"kind": "staged"}') as launcher:
        await_ready(launcher, 3)
        ranks = traces.ranks()
        assert len(ranks) == 3, "the test looks in the wrong place"
        for process in ranks if whom == "all ranks" else [psutil.Process(launcher.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # the launcher ends them all when the first has died
                process.kill()
        launcher.wait(DEADLINE)
        assert launcher.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        traces.await_none()


@pytest.mark.slow
def test_nothing_is_left_after_a_stall(traces: Traces) -> None:
    with hal_run(traces, 2, "late", '{"kind": "staged", "rank": 1, "seconds": 3, "timeout": "1s"}') as launcher:
        await_ready(launcher, 2)
        assert launcher.stdout is not None
        assert launcher.stdout.read().count('"StallTimeout"') == 2
        assert launcher.wait(DEADLINE) == 0
        traces.await_none()


def test_nothing_is_mapped_after_threads_have_failed() -> None:
    assert_back_to = mapped()

    def body(comm: hc.Communicator) -> None:
        call = make(comm, "two_phase_mapped")
        call()
        if comm.rank == 0:
            call()

    with hc.local(2, timeout=0.3) as comms:
        errors = on_each(comms, body)
    assert isinstance(errors[0], StallTimeout)
    del errors, comms
    gc.collect()
    assert mapped() == assert_back_to


def mapped() -> tuple[int, int]:
    """Bytes of this process's shared memory in use, and how many maps of others' it has."""
    return (0 if segment._segment is None else segment._segment.heap.used), len(segment._foreign)


def test_memory_of_arrays_outlives_the_communicator_and_goes_with_them() -> None:
    before = mapped()

    def body(comm: hc.Communicator) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        x = comm.empty(1 << 20, np.int32)
        x[:] = comm.rank
        comm.all_reduce(x)
        return x[5:][::2]  # a view keeps all of it

    with hc.local(3) as comms:
        views = on_each(comms, body)
    del comms
    gc.collect()
    assert mapped()[0] - before[0] == 3 * 4 << 20
    assert all((view == 3).all() for view in views)
    views[0][:] = 77
    assert (views[0] == 77).all()
    del views
    gc.collect()
    assert mapped() == before


def test_closed_groups_of_threads_give_their_memory_back() -> None:
    with hc.local(4) as comms:

        def body(comm: hc.Communicator) -> list[int]:
            seen = []
            for _ in range(30):
                part = comm.split(comm.rank // 2)
                assert part is not None
                part.barrier()
                part.send(np.zeros(4), 1) if part.rank == 0 else part.recv(np.zeros(4), 0)
                part.close()
                comm.barrier()
                seen.append(mapped()[0])
                comm.barrier()
            return seen

        for seen in on_each(comms, body):
            assert max(seen[5:]) <= max(seen[:5])
    gc.collect()


@pytest.mark.parametrize("rounds", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_closed_groups_of_processes_give_their_memory_back(rounds: int) -> None:
    with Job(4, "split_and_close", rounds=rounds) as job:
        for said in job.expect("memory"):
            (used, resident), (used_later, resident_later) = said["first"], said["end"]
            print(f"{rounds} groups: {used} to {used_later} bytes shared, {resident} to {resident_later} resident")
            assert used_later <= used + (64 << 20)  # of some, the last members may not have left yet
            assert resident_later <= resident + (16 << 20)


@pytest.mark.slow
def test_children_of_a_fork_leave_their_parents_group_alone() -> None:
    with Job(2, "forked") as job:
        assert [said["child"] for said in job.expect("success")] == [0, 0]
        for rank in job.ranks:
            assert rank.events[0]["kind"] == "UsageError"  # said by the child
            assert rank.wait() == 0
