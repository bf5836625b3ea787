"""Processes that drive the stand-in for HIP; tests skip where what it needs cannot be had."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from ..doubles.hip import standin

ROOT = Path(__file__).parents[2]
Run = Callable[..., str]


@pytest.fixture(scope="session")
def cache(request: pytest.FixtureRequest) -> Path:
    """Where the stand-in and compiled kernels are kept."""
    return Path(request.config.cache.mkdir("hal_rocm"))


@pytest.fixture(scope="session")
def run(cache: Path) -> Run:
    """Run a Python program (words after `python`), or `hal`, on the stand-in; what it prints."""

    def run(
        *words: str,
        binding: str = "hip-python",
        threads: int = 4,
        timeout: float = 100,
        fails: bool = False,
        **settings,
    ) -> str:
        try:
            environment = standin.environment(cache, binding, **settings)
        except standin.Unavailable as why:
            pytest.skip(str(why))
        environment |= {"HAL_BACKEND": "rocm", "HAL_ROCM_THREADS": str(threads), "HAL_ROCM_SEGMENT_SIZE": "128M"}
        program = [Path(sysconfig.get_path("scripts")) / "hal"] if words[0] == "hal" else [sys.executable]
        done = subprocess.run(
            [*map(str, program), *words[words[0] == "hal" :]],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + (done.stderr if fails else "")

    return run
