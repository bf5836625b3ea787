"""Programs on the double of the driver, in processes of their own: no GPU takes part."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

DOUBLE = Path(__file__).parents[3] / "tests" / "doubles" / "cuda"
PROGRAMS = Path(__file__).parent / "programs"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run(program: str, cache: Path, **environment: str) -> list[str]:
    """What a program prints."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HAL_")}
    kept |= {"PYTHONPATH": str(DOUBLE), "HAL_CUDA_THREADS": "1", "XDG_CACHE_HOME": str(cache)} | environment
    done = subprocess.run(
        [sys.executable, PROGRAMS / program], env=kept, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


@pytest.fixture
def cache(request):
    """Where kernels are kept, as other tests on this double keep them: for what they are compiled with, there alone."""
    headers = sorted((DOUBLE.parents[1] / "device" / "cpu").glob("*.h"))
    text = b"".join(path.read_bytes() for path in headers)
    return Path(request.config.cache.mkdir("hal_cuda")) / hashlib.sha256(text).hexdigest()[:12]


def test_arrays_in_device_memory(cache):
    assert run("arrays.py", cache) == ["own_arrays", "other_libraries", "on_streams"]


def test_what_is_refused(cache):
    printed = run("refusals.py", cache, DOUBLE_DEVICES="2")
    assert printed == ["kernels", "streams", "memory", "graphs", "done"]
