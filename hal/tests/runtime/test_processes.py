"""Whether a process still runs, also while the kernel takes back what it had."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from hal.runtime import processes

LARGE = "import mmap, os; room = mmap.mmap(-1, 1 << 28); room[:: mmap.PAGESIZE] = bytes(len(room) // mmap.PAGESIZE)"


def test_this_process_runs() -> None:
    pid, start = processes.own()
    assert processes.alive(pid, start)
    assert not processes.alive(pid, start + 1)


def test_a_process_that_gives_back_its_memory_has_ended() -> None:
    """It has a memory as long as /proc says of what size that is."""
    program = f"{LARGE}; print(flush=True); os.read(0, 1)"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    start = processes.started(child.pid)
    assert start is not None
    child.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child.pid}/statm").read_bytes().split()[0] != b"0":
        assert time.monotonic() < deadline
    assert not processes.alive(child.pid, start)
    child.communicate(timeout=20)
    assert not processes.alive(child.pid, start)
