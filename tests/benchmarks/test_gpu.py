"""What `make test-gpu` and `make bench-gpu` run, on the double of a driver: that it works, not how fast it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from benchmarks.gpu.in_place import ROOT


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HAL_")}
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=280, check=False
    )


def test_without_a_gpu_nothing_is_run(tmp_path):
    # the double without a device: whatever this machine has is out of sight
    double = str(ROOT / "tests" / "doubles" / "cuda")
    done = run("test", "--backend", "cuda", "--results", str(tmp_path), PYTHONPATH=double, DOUBLE_DEVICES="0")
    assert done.returncode == 3
    assert "there is no GPU that a backend can use, nothing was run" in done.stdout
    assert "cuda: there is no device" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_measurements_on_the_double(tmp_path):
    double = str(ROOT / "tests" / "doubles" / "cuda")
    variables = {"PYTHONPATH": double, "HAL_CUDA_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run("bench", "--quick", "--backend", "cuda", "--results", str(tmp_path), **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "gpu-bench.json").read_text())
    assert document["device"].startswith("a double")
    (step,) = document["steps"]
    seen = json.loads(step["output"])
    assert [row["all_reduce"] for row in seen["small"]] == [8, 1024, 16384]
    assert all(row["us"] > 0 for row in seen["small"] + seen["large"])
    assert "speed: passed" in (tmp_path / "gpu-bench.md").read_text()
