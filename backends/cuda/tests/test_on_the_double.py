"""The conformance suite on a double of the driver, which runs the same kernels on CPUs. No GPU takes part."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

DOUBLE = Path(__file__).parents[3] / "tests" / "doubles" / "cuda"


def conformance(*arguments: str, cache: Path) -> str:
    """A quick run on the double, with kernels compiled anew; what it prints."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HAL_")}
    environment |= {"PYTHONPATH": str(DOUBLE), "HAL_CUDA_THREADS": "1", "XDG_CACHE_HOME": str(cache)}
    program = Path(sysconfig.get_path("scripts")) / "hal"
    done = subprocess.run(
        [program, "conformance", "--backend", "cuda", "--quick", "--limit", "200", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on a double" in done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_memory_and_streams(tmp_path):
    text = conformance("--profile", "memory", "--profile", "streams", "--ranks", "2", cache=tmp_path)
    assert "verdict: partial" in text  # for the profiles that were left out


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_it_is_conformant(tmp_path):
    assert "verdict: conformant" in conformance(cache=tmp_path)
