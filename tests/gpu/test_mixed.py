"""Ranks of the host, of CUDA and of ROCm in one communicator, on the doubles. No GPU takes part."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from .conftest import ROOT

pytestmark = pytest.mark.slow
HAL = str(Path(sysconfig.get_path("scripts")) / "hal")
PROGRAM = (sys.executable, "-m", "tests.gpu.mixed")
OWN_BACKEND = f"""
case $HAL_RANK in 0) HAL_BACKEND=host;; 1) HAL_BACKEND=cuda;; *) HAL_BACKEND=rocm;; esac
export HAL_BACKEND; exec {" ".join(PROGRAM)} own rank-collectives
"""
SAID = {
    "read-only": "UsageError: x is read-only",
    "strided": "UsageError: x is not contiguous",
    "byte-swapped": "UsageError: x has an element type that HAL does not have (>f4)",
    "freed": "UsageError: the {side}: a range of 64 bytes at",
    "no address": "UsageError: the {side}: copying 64 bytes from 0x4000000000000",
    "past the end": "UsageError: the {side}: a range of 4194304 bytes at",
}
"""What is said of arrays that cannot be given, as the input and as the output of a call."""


@pytest.fixture
def out(both):
    """What a command prints, on both doubles."""

    def run(*command: str, fails: bool = False) -> str:
        done = subprocess.run(command, cwd=ROOT, env=both, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout

    return run


def test_collectives_of_threads(out):
    assert out(*PROGRAM, "host,cuda,rocm", "collectives").split() == ["right"] * 3


@pytest.mark.exhaustive
def test_collectives_of_processes(out):
    said = out(HAL, "run", "-n", "4", *PROGRAM, "rocm,host,cuda,host", "rank-collectives")
    assert said.count("backends rocm, host, cuda, host> right") == 4


def test_each_process_has_its_backend_from_its_environment(out):
    said = out(HAL, "run", "-n", "3", "sh", "-c", OWN_BACKEND)
    assert said.count("backends host, cuda, rocm> right") == 3


@pytest.mark.parametrize("last", ["host", pytest.param("cuda", marks=pytest.mark.exhaustive)])
def test_a_rank_that_is_killed(out, last):
    first = "cuda" if last == "host" else "host"
    said = out(HAL, "run", "-k", "-n", "3", *PROGRAM, f"{first},rocm,{last}", "rank-survivors", fails=True)
    assert said.count("PeerFailure of rank 2 (True)") == 2
    assert said.count(f"backends {first}, rocm>") == 2


@pytest.mark.parametrize(("backend", "label"), [("cuda", "CUDA"), ("rocm", "HIP")])
def test_what_is_special_about_a_gpu(run, backend, label):
    words = ("-m", "tests.gpu.mixed", f"host,{backend}", "streams", "arguments", "late")
    said = run(backend, *words, environment={"THREADS": "1"})
    where = "[rank 1, in all_reduce]"
    assert "NotSupported: the stream: a call in a group of several backends runs on the CPUs, and cannot be" in said
    assert f"no stream: UsageError: the stream: a stream of {label} is needed" in said
    assert f"no stream: UsageError: the stream: a stream of device 1 is no stream of device 0 {where}" in said
    for name, text in SAID.items():
        for side, operation in (("input", "all_reduce"), ("output", "broadcast")):
            lines = [line for line in said.splitlines() if line.startswith(f"{name}: ") and operation in line]
            assert len(lines) == 1
            assert text.format(side=side) in lines[0]
            assert f"[rank 1, in {operation}]" in lines[0]
    assert "rank 1: StallTimeout: the stream: what it was given before this call was not done after 0.02 s" in said
    assert "rank 0: PeerFailure: the communicator was aborted by rank 1" in said
    assert said.count("(True)") == 2


def test_ranks_whose_devices_are_alike_make_a_plain_group(run):
    said = run("cuda", "-m", "tests.gpu.mixed", "cuda,host,cuda", "parts").split()
    assert said == ["GpuExecutor", "BridgedExecutor", "HostExecutor", "HostExecutor", "GpuExecutor", "BridgedExecutor"]
