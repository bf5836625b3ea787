"""Processes that use a backend for GPUs on its double: of CUDA's driver, or of HIP. No GPU takes part."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from ..doubles.hip import standin

ROOT = Path(__file__).parents[2]
CUDA = ROOT / "tests" / "doubles" / "cuda"
Run = Callable[..., str]


def driver_library(cache: Path) -> Path:
    """The folder of the double's libcuda.so.1, compiled once for the same source."""
    sources = sorted(CUDA.glob("*.cpp"))
    folder = cache / hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    made = folder / "libcuda.so.1"
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True)
        compiler = shutil.which(os.environ.get("CXX") or "g++")
        assert compiler is not None, "there is no C++ compiler"
        part = folder / f"{os.getpid()}.so"
        command = [compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"]
        subprocess.run([*command, *map(str, sources), "-o", str(part)], check=True, timeout=120)
        part.replace(made)
    return folder


def cuda_environment(cache: Path, **settings: str) -> dict[str, str]:
    """The environment of a process on the double of CUDA; `settings` become DOUBLE_ variables."""
    # what kernels are compiled with and by, there alone
    used = [*sorted((ROOT / "tests" / "device" / "cpu").glob("*.h")), CUDA / "cupy" / "cuda" / "nvrtc.py"]
    kernels = cache / hashlib.sha256(b"".join(path.read_bytes() for path in used)).hexdigest()[:12]
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("HAL_", "DOUBLE_"))},
        "PYTHONPATH": str(CUDA),
        "LD_LIBRARY_PATH": str(driver_library(cache)),
        "XDG_CACHE_HOME": str(kernels),
        **{f"DOUBLE_{key}": value for key, value in settings.items()},
    }


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Run:
    """Run a Python program (words after `python`), or `hal`, on the double of a backend; what it prints.

    `settings` are the double's; `name` chooses the binding of HIP. It is killed after `timeout` seconds.
    """

    def run(
        backend: str,
        *words: str,
        environment: dict[str, str] | None = None,
        timeout: float = 100,
        fails: bool = False,
        **settings: str,
    ) -> str:
        cache = Path(request.config.cache.mkdir(f"hal_{backend}"))
        try:
            make = cuda_environment if backend == "cuda" else standin.environment
            chosen = make(cache, **settings)
        except standin.Unavailable as why:
            pytest.skip(str(why))
        section = f"HAL_{backend.upper()}"
        chosen |= {"HAL_BACKEND": backend, f"{section}_SEGMENT_SIZE": "256M", f"{section}_SCRATCH_SIZE": "16M"}
        chosen |= {f"{section}_THREADS": "1" if backend == "cuda" else "4"}
        chosen |= {f"{section}_{key}": value for key, value in (environment or {}).items()}
        program = [str(Path(sysconfig.get_path("scripts")) / "hal")] if words[0] == "hal" else [sys.executable]
        command = [*program, *words[words[0] == "hal" :]]
        done = subprocess.run(
            command, cwd=ROOT, env=chosen, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + (done.stderr if fails else "")

    return run


@pytest.fixture
def both(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a process where the backends for GPUs find their doubles."""
    cache = Path(request.config.cache.mkdir("hal_rocm"))
    try:
        hip = standin.environment(cache)
    except standin.Unavailable as why:
        pytest.skip(str(why))
    cuda = cuda_environment(Path(request.config.cache.mkdir("hal_cuda")))
    paths = {name: os.pathsep.join((cuda[name], hip[name])) for name in ("PYTHONPATH", "LD_LIBRARY_PATH")}
    small = {f"HAL_{section}_SEGMENT_SIZE": "128M" for section in ("CUDA", "ROCM")}
    # each double's library compiles for CPUs in a way of its own: their kernels are kept apart
    apart = {"XDG_CACHE_HOME": cuda["XDG_CACHE_HOME"] + "-of-both"}
    return hip | paths | small | apart | {"HAL_CUDA_THREADS": "1", "HAL_ROCM_THREADS": "4"}
