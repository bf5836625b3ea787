"""A plan knows no backend: the same objects run on the host, on device code for CPUs, and on both GPUs' doubles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

pytestmark = pytest.mark.slow


def test_the_same_plans_end_alike_bit_for_bit(both, request, tmp_path):
    harness = Path(request.config.cache.mkdir("hal_device"))
    command = [sys.executable, "-m", "tests.gpu.same_plans", str(harness), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=both, capture_output=True, text=True, timeout=200, check=False)
    assert "11 plans, not alike: none" in done.stdout, done.stdout + done.stderr
