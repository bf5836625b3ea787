"""What the conformance suite cannot see: segments that stay, the cache, kernels of one's own; and the suite itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from hal.interface.errors import BackendUnavailable, UsageError
from hal_sysv.device import SysvDevice
from hal_sysv.heap import Heap
from hal_sysv.plugin import Settings

HAL = Path(sysconfig.get_path("scripts")) / "hal"
RANK = """
import time
import numpy as np
import hal_collectives as hc
with hc.init(backend="sysv") as comm:
    x = comm.empty(1000, np.float32)
    x[:] = comm.rank
    comm.all_reduce(x)
    assert (x == 1).all()
    print("ready", flush=True)
    time.sleep(60)
"""


def segments(pids: set[int]) -> list[str]:
    """The lines of the segments that one of these processes has made."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return [line for line in lines if int(line.split()[4]) in pids]


@pytest.fixture
def device():
    opened = SysvDevice(Settings(memory="4M"))
    yield opened
    opened.close()


def test_blocks_that_are_freed_grow_together():
    heap = Heap(4096, 4096)
    taken = [heap.take(1000) for _ in range(4)]
    assert heap.take(1) is None
    for address in (taken[1], taken[3], taken[0], taken[2]):
        assert heap.give_back(address)
    assert not heap.give_back(taken[0])
    assert heap.take(4096) == 4096


def test_a_segment_goes_with_its_device():
    opened = SysvDevice(Settings(memory="1M"))
    assert len(segments({os.getpid()})) == 1
    opened.close()
    assert segments({os.getpid()}) == []


def test_a_kernel_with_many_lanes(device):
    source = """
    #include <intrinsics.h>
    using namespace hal::device;
    HAL_KERNEL void turn(u64 at, u64 count) {
      u64* words = reinterpret_cast<u64*>(at);
      u64* mine = static_cast<u64*>(block_memory());
      mine[lane()] = words[block_index() * count + lane()];
      block_barrier();
      words[block_index() * count + lane()] = mine[lanes() - 1 - lane()];
    }"""
    import numpy as np

    words = np.arange(64, dtype=np.uint64)
    device.launch(device.compile(source).turn, 2, 32, [int(words.ctypes.data), 32])
    assert words.tolist() == [*range(31, -1, -1), *range(63, 31, -1)]
    with pytest.raises(AttributeError, match="no kernel 'other'"):
        device.compile(source).other  # noqa: B018
    with pytest.raises(UsageError, match="integers of 64 bits"):
        device.launch(device.compile(source).turn, 1, 1, [1.5])


def test_no_compiler(device, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BackendUnavailable, match="no C\\+\\+ compiler 'no-such-compiler': install"):
        device.compile("")


@pytest.mark.slow
def test_no_segment_stays_after_a_sigkill(tmp_path):
    program = tmp_path / "rank.py"
    program.write_text(RANK)
    command = [str(HAL), "run", "-n", "2", str(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as job:
        assert job.stdout is not None
        try:
            assert all("ready" in job.stdout.readline() for _ in range(2))
            group = {int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _descends(p, job.pid)}
            assert len(segments(group)) >= 4
        finally:
            for pid in group:
                if pid != job.pid:
                    os.kill(pid, signal.SIGKILL)
            job.wait(30)
    deadline = time.monotonic() + 10
    while segments(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert segments(group) == []


def _descends(path: Path, ancestor: int) -> bool:
    pid = int(path.name)
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False


def conformance(*arguments: str) -> str:
    command = [sys.executable, str(HAL), "conformance", "--backend", "sysv", "--quick", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=390, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_pairs_of_ranks_pass_every_clause_of_memory_channels_and_packets():
    profiles = ("memory-channel", "packets")  # the others take long: test_it_is_conformant has all
    assert "verdict: partial" in conformance("--ranks", "2", *(word for p in profiles for word in ("--profile", p)))


@pytest.mark.exhaustive
@pytest.mark.timeout(400)
def test_it_is_conformant():
    assert "verdict: conformant" in conformance()
