"""A plan knows no backend: the same objects run on the host, on device code for CPUs, and on both GPUs' doubles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..doubles.hip import standin
from .conftest import ROOT, cuda_environment

pytestmark = pytest.mark.slow


@pytest.fixture
def both(request):
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
    apart = {"XDG_CACHE_HOME": str(cache / "kernels-of-both")}
    return hip | paths | small | apart | {"HAL_CUDA_THREADS": "1", "HAL_ROCM_THREADS": "4"}


def test_the_same_plans_end_alike_bit_for_bit(both, request, tmp_path):
    harness = Path(request.config.cache.mkdir("hal_device"))
    command = [sys.executable, "-m", "tests.gpu.same_plans", str(harness), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=both, capture_output=True, text=True, timeout=200, check=False)
    assert "9 plans, not alike: none" in done.stdout, done.stdout + done.stderr
