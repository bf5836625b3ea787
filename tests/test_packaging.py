"""The host backend as a wheel: built, looked into, installed into an environment of its own, used."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE = f"hal_host/_native{sysconfig.get_config_var('EXT_SUFFIX')}"
BACKENDS = ("backends/host", "backends/cuda", "backends/ib")
PACKAGES = ("hal", *BACKENDS, "collectives", "conformance", "examples/backend-sysv")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A wheel of each package, made with the tools of this environment."""
    folder = tmp_path_factory.mktemp("wheels")
    pip_wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    run(*pip_wheel, folder, *(f"./{package}" for package in PACKAGES))
    return {path.name.split("-")[0]: path for path in folder.glob("*.whl")}


def test_the_host_wheel_holds_the_module_of_this_python_alone(wheels):
    names = zipfile.ZipFile(wheels["hal_host"]).namelist()
    assert [name for name in names if name.endswith(".so")] == [MODULE]
    assert "hal_host/py.typed" in names
    assert "hal_host/_native.pyi" in names


def test_the_host_wheel_is_tagged_for_this_python_and_platform(wheels):
    python, abi, platform = wheels["hal_host"].stem.split("-")[-3:]
    interpreter = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert (python, abi) == (interpreter, interpreter)
    assert platform.endswith(sysconfig.get_platform().split("-", 1)[1].replace("-", "_"))


@pytest.mark.parametrize("name", ["hal_core", "hal_cuda", "hal_collectives", "hal_conformance", "hal_sysv"])
def test_the_other_wheels_are_for_any_platform(wheels, name):
    assert wheels[name].stem.endswith("-py3-none-any")


def test_device_code_is_in_the_wheels_that_compile_it(wheels):
    for package in ("hal_cuda", "hal_sysv"):
        assert f"{package}/include/intrinsics.h" in zipfile.ZipFile(wheels[package]).namelist()


def test_the_conformance_wheel_holds_the_suite_and_its_clauses(wheels):
    names = zipfile.ZipFile(wheels["hal_conformance"]).namelist()
    assert {"hal_conformance/clauses.yaml", "hal_conformance/suite/pytest.ini"} <= set(names)
    assert "hal_conformance/suite/test_memory.py" in names
    assert {f"hal_conformance/report/templates/report.{kind}" for kind in ("html", "css", "js")} <= set(names)
    package = "hal_conformance/new_backend"
    assert {f"{package}/primitives.yaml", f"{package}/templates/.gitignore.jinja"} <= set(names)
    assert f"{package}/templates/src/package/device.py.jinja" in names


def test_the_wheels_work_in_an_environment_of_their_own(wheels, tmp_path):
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    run(*pip, "install", "--quiet", "--constraint", ROOT / "constraints.txt", *wheels.values())
    program = (
        "import numpy, hal_collectives, hal_host._native as native; print(native.__file__);"
        "print(hal_collectives.run_local(2, lambda comm: comm.all_reduce(numpy.ones(3)).tolist()))"
    )
    where, result = run(python, "-c", program).splitlines()
    assert Path(where).is_relative_to(tmp_path)
    assert result == "[[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]"
    assert "hal-core 0.1.0" in run(tmp_path / "venv" / "bin" / "hal", "--version")
