"""The package on a machine without a binding, HIP's library, or a device, and what it says of that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hal.gpu import apart
from hal.gpu.driver import CompileError, Status
from hal.interface.errors import BackendUnavailable
from hal_rocm import binding, plugin, probe
from hal_rocm.binding import Binding, BindingError, HipError
from hal_rocm.driver import NO_DEVICE, RocmDriver


class Without(Binding):
    """A binding of a HIP that lists devices of some architectures, or says that there is none."""

    name = "a binding"

    def __init__(self, *architectures: str, version: int = 70125424) -> None:
        self._architectures, self._version = architectures, version

    def call(self, name, *arguments):
        if name == "hipRuntimeGetVersion":
            return self._version
        assert name == "hipGetDeviceCount"
        if not self._architectures:
            raise HipError(name, NO_DEVICE, "hipErrorNoDevice")
        return len(self._architectures)

    def structure(self, name, nbytes, *arguments):
        data = bytearray(nbytes)
        data[0:4] = b"card"
        architecture = self._architectures[arguments[0]].encode()
        data[1160 : 1160 + len(architecture)] = architecture
        return bytes(data)


def found(monkeypatch, bound: Binding, nodes: Path = Path("/nowhere")):
    monkeypatch.setattr(binding, "load", lambda: bound)
    return probe.probe(nodes)


def test_importing_the_plugin_imports_no_driver():
    program = "import sys, hal_rocm.plugin; sys.exit(bool({'hip', 'pyhip', 'rocm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def probed(tmp_path: Path) -> str:
    """What a process says that finds modules in a folder."""
    program = "from hal_rocm.probe import probe; [print(p.what, '|', p.remedy) for p in probe().problems]"
    environment = {"PYTHONPATH": str(tmp_path), "PATH": os.defpath, "ROCM_PATH": "/opt/other"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_no_binding(tmp_path):
    said = probed(tmp_path)
    assert "no binding of HIP is installed" in said
    assert "hal-rocm[pyhip]" in said


def test_the_other_pyhip(tmp_path):
    (tmp_path / "pyhip").mkdir()
    (tmp_path / "pyhip" / "__init__.py").write_text("class HIP: pass\n")
    said = probed(tmp_path)
    assert "another package of that name" in said
    assert "pyhip-interface" in said


def test_no_library(tmp_path):
    (tmp_path / "pyhip").mkdir()
    (tmp_path / "pyhip" / "__init__.py").write_text("")
    (tmp_path / "pyhip" / "hip.py").write_text("raise RuntimeError('cant find libamdhip64.so')")
    said = probed(tmp_path)
    assert "runtime library is not found: cant find libamdhip64.so" in said
    assert "/opt/other/lib" in said
    assert "ROCM_PATH" in said


def test_no_device(monkeypatch, tmp_path):
    problem = found(monkeypatch, Without(), tmp_path).problems[0]
    assert "there is no device" in problem.what
    assert "kfd is not there" in problem.what


def test_no_permission(monkeypatch, tmp_path):
    (tmp_path / "kfd").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    problem = found(monkeypatch, Without(), tmp_path).problems[0]
    assert problem.what == f"no permission on {tmp_path / 'kfd'}"
    assert "render" in problem.remedy


def test_hidden_devices(monkeypatch, tmp_path):
    (tmp_path / "kfd").touch()
    problem = found(monkeypatch, Without(), tmp_path).problems[0]
    assert "HIP_VISIBLE_DEVICES" in problem.remedy


def test_targets(monkeypatch):
    probe = found(monkeypatch, Without("gfx942:sramecc+:xnack-", "gfx906"))
    assert probe.available
    assert "gfx942" in probe.devices[0]
    assert "is a gfx906, which is not supported" in probe.problems[0].what
    assert not found(monkeypatch, Without("gfx906")).available


def test_an_old_runtime(monkeypatch):
    probe = found(monkeypatch, Without("gfx90a", version=50221153))
    assert not probe.available
    assert "HIP 5.2 is too old" in probe.problems[0].what


def test_opening_says_why(monkeypatch):
    def nothing():
        raise BindingError("no binding", "install one")

    monkeypatch.setattr(binding, "load", nothing)
    with pytest.raises(BackendUnavailable, match="no binding: install one"):
        binding.needed()


def test_ranks_that_begin_together_load_the_library_once():
    """hip-python's first call loads it, and reads freed memory where threads make that call at the same time."""
    program = """
import threading, time
from hal_rocm import binding

class Slow(binding.Binding):
    name = "slow"
    calls = 0
    def call(self, name):
        Slow.calls += 1
        time.sleep(0.1)
    structure = call

binding.find = Slow
together = threading.Barrier(4)
threads = [threading.Thread(target=lambda: (together.wait(), binding.load())) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(Slow.calls)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "1\n"


def test_the_state_of_an_error():
    driver = RocmDriver(Without())
    assert driver.status(HipError("hipMalloc", 2, "hipErrorOutOfMemory")) is Status.OUT_OF_MEMORY
    assert driver.status(HipError("hipMalloc", 1, "hipErrorInvalidValue")) is Status.INVALID
    assert driver.status(HipError("hipMalloc", 719, "hipErrorLaunchFailure")) is Status.OTHER
    assert driver.count() == 0


@pytest.mark.parametrize(("status", "kind"), [(3, CompileError), (-6, BackendUnavailable), (0, BackendUnavailable)])
def test_how_a_compiler_ends(monkeypatch, status, kind):
    done = subprocess.CompletedProcess([], status, b"", b"what it says")
    monkeypatch.setattr(apart.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(kind, match="what it says"):
        apart.compile_apart("a_compiler", "hiprtc", "gfx942", "", {}, [])


def test_it_describes_itself():
    assert plugin.hal_describe().name == "rocm"
