"""A plan knows no backend: the same objects run on the host, on device code for CPUs and on ROCm's stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_the_same_plans_end_alike_bit_for_bit(run, request, tmp_path):
    harness = Path(request.config.cache.mkdir("hal_device"))
    assert "9 plans, not alike: none" in run("-m", "tests.rocm.same_plans", str(harness), str(tmp_path))
