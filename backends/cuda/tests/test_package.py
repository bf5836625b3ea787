"""The package on a machine without CuPy, driver or device, and what it says of that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hal.config.schema import keys_of
from hal.gpu.segment import Handle
from hal.interface.errors import BackendUnavailable, UsageError
from hal.runtime import processes
from hal_cuda import binding, plugin
from hal_cuda.settings import CudaSettings

DOUBLE = Path(__file__).parents[3] / "tests" / "doubles" / "cuda"
HANDLE = Handle("cuda", *processes.own(), bytes(16), 1 << 40, 1 << 20, 256, 1000, bytes(64))


def probed(**environment: str) -> str:
    """What the probe says in a process of its own, with the double for a driver."""
    program = "from hal_cuda.probe import probe; p = probe(); print(p.available, *(q.what for q in p.problems))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(DOUBLE), "PATH": "/usr/bin:/bin"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_the_table_of_settings():
    page = Path(__file__).parents[3] / "docs" / "configuration.md"
    assert [line for line in page.read_text().splitlines() if line.startswith("| `cuda.")] == [
        f"| `{key.dotted}` | {key.about.default} | `{key.environment}` | {key.about.kind.allowed} | {key.about.doc} |"
        for key in keys_of("cuda", CudaSettings)
    ]


def test_importing_the_plugin_imports_no_driver():
    program = "import sys, hal_cuda.plugin; sys.exit('cupy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    binding.load.cache_clear()
    try:
        probe = plugin.hal_probe()
        assert not probe.available
        assert "CuPy" in probe.problems[0].what
        assert "pip install" in probe.problems[0].remedy
        with pytest.raises(BackendUnavailable, match="CuPy"):
            plugin.hal_open_device(CudaSettings(), 0)
    finally:
        binding.load.cache_clear()


def test_what_is_missing():
    assert probed() == "True\n"
    assert probed(DOUBLE_DRIVER="0").startswith("False there is no driver")
    assert probed(DOUBLE_DRIVER="11080").startswith("False the driver is too old: it is made for CUDA 11.8")
    assert probed(DOUBLE_DEVICES="0").startswith("False there is no device")


def test_a_handle_comes_back():
    assert Handle.unpack(HANDLE.pack(), "cuda") == HANDLE


@pytest.mark.parametrize("at", [0, 9, 30, 70, 100, -1])
def test_an_altered_handle_is_refused(at):
    data = bytearray(HANDLE.pack())
    data[at] ^= 1
    with pytest.raises(UsageError, match="no memory handle"):
        Handle.unpack(bytes(data), "cuda")
