"""Plain memory that other ranks read directly: results, and what a rank learns whose peer's memory cannot be read."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hal_collectives import Communicator, run_local

from .cases import covering, matrix
from .test_matrix import check
from .test_processes import LAUNCH, SAMPLE, launch


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAL_HOST_SINGLE_COPY", "1")


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_threads(size: int) -> None:
    check(size, covering(matrix(memories=["plain", "mixed"]), seed=7), seed=size)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes(tmp_path: Path, size: int) -> None:
    launch(tmp_path, size, SAMPLE)


@pytest.mark.parametrize("reached", [True, False])
@pytest.mark.parametrize(
    ("collective", "times"),
    [("broadcast", 1), ("gather", 2), ("scatter", 2), ("all_to_all", 1), ("all_gather", 4), ("send_recv", 16)],
)
def test_from_how_long_it_is_done(monkeypatch: pytest.MonkeyPatch, collective: str, times: int, reached: bool) -> None:
    """What a rank gives to another here has 8 KiB."""
    monkeypatch.setenv("HAL_HOST_SINGLE_COPY", str(8192 // times + (not reached)))
    monkeypatch.setenv(f"HAL_ALGORITHMS_{collective.upper()}", "direct_mapped")

    def body(comm: Communicator) -> bool:
        block, blocks = np.full(2048, comm.rank, np.int32), np.full(4096, comm.rank, np.int32)
        both, got = [0] * 2048 + [1] * 2048, np.empty_like(blocks)
        match collective:
            case "broadcast":
                assert (comm.broadcast(block, root=1) == 1).all()
            case "send_recv":
                assert comm.rank == 1 or (comm.recv(block, 1) == 1).all()
                assert comm.rank == 0 or comm.send(block, 0) is None
            case "gather":
                comm.gather(block, got if comm.rank == 0 else None, root=0)
                assert comm.rank == 1 or got.tolist() == both
            case "all_to_all":
                assert comm.all_to_all(blocks, got).tolist() == both
            case "all_gather":
                assert comm.all_gather(block, got).tolist() == both
            case "scatter":
                comm.scatter(blocks if comm.rank == 1 else None, block, root=1)
                assert (block == 1).all()
        (executable,) = comm._caller.calls._kept.values()
        return bool(executable.native.ran_plain)  # type: ignore[attr-defined]  # the host's have it

    assert run_local(2, body, timeout=20) == [reached] * 2


@pytest.mark.usefixtures("always")
def test_what_is_reduced_goes_through_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    for collective, name in (("ALL_REDUCE", "two_phase"), ("REDUCE_SCATTER", "direct")):
        monkeypatch.setenv(f"HAL_ALGORITHMS_{collective}", f"{name}_mapped")

    def body(comm: Communicator) -> list[bool]:
        x = np.full(1 << 14, comm.rank, np.int32)
        assert (comm.all_reduce(x.copy()) == 1).all()
        assert (comm.reduce_scatter(x) == 1).all()
        kept = comm._caller.calls._kept.values()
        return [executable.native.ran_plain for executable in kept]  # type: ignore[attr-defined]  # the host's have it

    assert run_local(2, body, timeout=20) == [[False] * 2] * 2


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("special", [False, True])
def test_memory_that_the_kernel_does_not_copy_goes_through_scratch(
    monkeypatch: pytest.MonkeyPatch, special: bool
) -> None:
    """As that of some drivers: here the clock's, which the kernel maps into every process."""
    maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("[vvar]")]
    if not maps:
        pytest.skip("the kernel maps no [vvar] here")
    monkeypatch.setenv("HAL_ALGORITHMS_BROADCAST", "shared_mapped")
    clock = (ctypes.c_int32 * 1024).from_address(int(maps[0].partition("-")[0], 16))

    def body(comm: Communicator) -> bool:
        x = np.frombuffer(clock, np.int32) if special and comm.rank == 1 else np.ones(1024, np.int32)
        got = comm.broadcast(x, np.empty(1024, np.int32), root=1)
        assert special or (got == 1).all()
        (executable,) = comm._caller.calls._kept.values()
        return bool(executable.native.ran_plain)  # type: ignore[attr-defined]  # the host's have it

    assert run_local(2, body, timeout=20) == [not special] * 2


PROGRAM = """
import ctypes, mmap, os, signal, sys, threading, time
import numpy as np
import hal_collectives
from hal.interface.errors import PeerFailure

# the launcher ends all ranks when one has ended: it watches a process that lives on
if sys.argv[1] == "killed" and os.environ["HAL_RANK"] == "0" and os.fork():
    os.wait()
    time.sleep(3)
    os._exit(0)
comm = hal_collectives.init(timeout=20)
room = mmap.mmap(-1, 1 << 20)
x = np.frombuffer(room, np.float32)
if sys.argv[1] == "unreadable" and comm.rank == 0:
    # the half that the other reads, but for its end
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(x.ctypes.data + (1 << 19)), (1 << 19) - 4096, 0)
if sys.argv[1] == "killed":
    if comm.rank == 0:
        threading.Timer(1, os.kill, (os.getpid(), signal.SIGKILL)).start()
    else:
        time.sleep(2)  # by now rank 0 has told where its memory is
try:
    comm.broadcast(x)
except PeerFailure as failure:
    print(f"rank {comm.rank}: {failure}", flush=True)
os._exit(0)
"""


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("what", "heard", "said"),
    [
        ("unreadable", 2, "the kernel cannot copy between the memory of rank 0 and another's (host.single_copy)"),
        ("killed", 1, "rank 0 has died or left the group"),
    ],
)
def test_memory_that_cannot_be_read(tmp_path: Path, what: str, heard: int, said: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, "2", sys.executable, str(script), what],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(said in line for line in done.stdout.splitlines()) == heard, done.stdout + done.stderr
