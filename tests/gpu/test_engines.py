"""Copy engines behind port channels, on the doubles: `copies: engine`."""

from __future__ import annotations

import sys

import pytest

from .engines import ODD

pytestmark = pytest.mark.slow
ENGINES = {"COPIES": "engine"}
PROGRAM = ("-m", "tests.gpu.engines")
BLOCK = str(4 * ODD)
"""Bytes of the copies that the doubles' faults are about."""
BOTH = ["rocm", "cuda"]


def hip(*faults: str, **settings: str) -> dict[str, str]:
    """Settings of the stand-in for HIP."""
    return {"FAULTS": ",".join(f"{fault}={BLOCK}" for fault in faults), **settings}


def faults(backend: str, name: str) -> dict[str, str]:
    """The settings for a fault that both doubles have."""
    return {name.upper(): BLOCK} if backend == "cuda" else hip(name)


@pytest.mark.parametrize("copies", [pytest.param("kernel", marks=pytest.mark.exhaustive), "engine"])
@pytest.mark.parametrize("backend", ["cuda", pytest.param("rocm", marks=pytest.mark.exhaustive)])
def test_blocks_of_every_size(run, backend, copies):
    said = run(backend, *PROGRAM, "sizes", "3", environment={"COPIES": copies})
    assert said.startswith("right right right")
    assert ("carried out: []" in said) == (copies == "kernel")
    assert copies == "kernel" or " 0" not in said.partition("carried out")[2]


@pytest.mark.parametrize("binding", ["hip-python", "pyhip"])
def test_ranks_that_are_processes(run, binding):
    words = ("hal", "run", "-n", "3", sys.executable, *PROGRAM, "rank-sizes", "3")
    said = run("rocm", *words, environment=ENGINES, name=binding)
    assert said.count("right") == 3
    assert said.count("carried out: [") == 3
    assert "carried out: []" not in said


@pytest.mark.parametrize("backend", BOTH)
def test_streams_and_graphs(run, backend):
    assert run(backend, *PROGRAM, "graph", "2", environment=ENGINES).startswith("right right")


@pytest.mark.parametrize(("backend", "settings"), [("cuda", {}), ("rocm", {}), ("rocm", {"name": "pyhip"})])
def test_a_copy_is_refused(run, backend, settings):
    said = run(backend, *PROGRAM, "fails", "2", environment=ENGINES, **faults(backend, "refuses"), **settings)
    label = {"rocm": "HIP", "cuda": "CUDA"}[backend]
    for rank in range(2):
        for when in ("", " again"):
            (line,) = (line for line in said.splitlines() if line.startswith(f"rank {rank}{when}: "))
            own = f"BackendUnavailable: copying {BLOCK} bytes from 0x" in line and f"{label} says status 1" in line
            assert own or "PeerFailure" in line, said
    assert f"{backend}.copies = engine" in said


@pytest.mark.parametrize("backend", BOTH)
def test_a_copy_fails_that_is_under_way(run, backend):
    said = run(backend, *PROGRAM, "fails", "2", environment=ENGINES, **faults(backend, "breaks"))
    assert "BackendUnavailable" in said
    assert "says status 700" in said or "hipErrorIllegalAddress (700)" in said
    assert "no error" not in said


@pytest.mark.parametrize("backend", BOTH)
def test_a_deadline_passes_while_it_copies(run, backend):
    said = run(backend, *PROGRAM, "stalls", "2", environment=ENGINES, **faults(backend, "stuck"))
    assert "no error" not in said
    for rank in range(2):
        assert f"rank {rank}: StallTimeout: a deadline passed on rank" in said
        assert f"rank {rank} again: StallTimeout" in said
    assert "waits for the posts on channel 0 to rank" in said


def test_an_abort_does_not_wait_for_a_copy(run):
    said = run("rocm", *PROGRAM, "aborted", "2", environment=ENGINES, **hip("stuck"))
    for rank in range(2):
        assert f"rank {rank}: PeerFailure: the communicator was aborted by rank 0" in said
    assert said.count("(True)") == 2


def test_a_rank_is_killed(run):
    words = ("hal", "run", "--keep-going", "-n", "3", sys.executable, *PROGRAM, "rank-survivors", "3")
    said = run("rocm", *words, environment=ENGINES, fails=True)
    assert said.count("PeerFailure: rank 2 has died or left the group") == 2, said
    assert said.count("2 go on") == 2, said


def test_what_engines_take_is_given_back(run):
    assert run("rocm", *PROGRAM, "many", "2", environment=ENGINES).startswith("right right")


def test_another_library_captures(run):
    """A capture forbids other threads calls that could spoil it: the engine's are none of these."""
    program = """
import threading
from tests.gpu import engines
from hal_collectives import run_local

def captured(comm):
    exchange, stream, other = engines.Exchange(comm, 301), comm.device.create_stream(), comm.device.create_stream()
    hip = comm.device.driver._hip
    exchange.run()
    exchange.give(1)
    met.wait(30)
    if comm.rank == 0:
        hip("hipStreamBeginCapture", other.handle, 0)
    met.wait(30)
    exchange.executable.enqueue(*exchange.arguments, 30, stream)
    hip("hipStreamSynchronize", stream.handle)
    met.wait(30)
    if comm.rank == 0:
        hip("hipGraphDestroy", hip("hipStreamEndCapture", other.handle))
    met.wait(30)
    exchange.executable.check()
    exchange.check(1)
    return "right"

met = threading.Barrier(2)
print(run_local(2, captured, timeout=30, verify="never"))
"""
    assert "['right', 'right']" in run("rocm", "-c", program, environment=ENGINES)


@pytest.mark.parametrize(
    ("compiler", "said"),
    [("/nowhere/c++", "needs a C++ compiler, and CXX names /nowhere/c++, which is not there"), ("false", "refuses")],
)
def test_no_compiler(run, compiler, said):
    program = f"""
import os
os.environ["CXX"] = "{compiler}"
from hal.gpu import engine
from hal_rocm.driver import rocm
engine.prepare(rocm())
"""
    found = run("rocm", "-c", program, fails=True)
    assert "BackendUnavailable: rocm.copies = engine" in found
    assert said in found


def test_a_forked_process_ends(run):
    """It has no thread to end."""
    program = """
import os, sys, time
from tests.gpu import engines
from hal_collectives import run_local

def body(comm):
    engines.Exchange(comm, 7).run()
    if comm.rank == 0:
        pid = os.fork()
        if pid == 0:
            import atexit
            atexit._run_exitfuncs()
            os._exit(0)
        end = time.monotonic() + 20
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            assert time.monotonic() < end, "it hangs"
            time.sleep(0.02)
    return "right"

print(run_local(2, body, timeout=30, verify="never"))
"""
    assert "['right', 'right']" in run("rocm", "-c", program, environment=ENGINES)
