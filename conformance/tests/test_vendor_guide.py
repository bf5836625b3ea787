"""The vendor's guide, followed to the letter by somebody who has HAL's packages and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .guide import GUIDE, Step, apply, steps

ROOT = GUIDE.parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Vendor:
    """An environment outside of this repository, and the folder that its user works in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.package = self.folder / "hal-acme"
        self.scripts = folder / "venv" / "bin"
        own = {key: value for key, value in os.environ.items() if not key.startswith(("HAL_", "PYTHON", "VIRTUAL_"))}
        self.environment = own | {"PATH": f"{self.scripts}{os.pathsep}{own['PATH']}", "COLUMNS": "200"}
        _run([sys.executable, "-m", "venv", folder / "venv"], folder, self.environment)
        pip = [self.scripts / "pip", "--disable-pip-version-check", "install", "--quiet"]
        constrained = [*pip, "--constraint", ROOT / "constraints.txt"]
        _run([*constrained, "hatchling", "editables"], folder, self.environment)
        _run([*constrained, "--no-build-isolation", ROOT / "hal", ROOT / "conformance"], folder, self.environment)

    def shell(self, command: str, *, fails: bool = False) -> str:
        """Run a command as the guide has it; what it prints."""
        return _run(["sh", "-e", "-c", command], self.folder, self.environment, status=int(fails))

    def profiles(self, *names: str, fails: bool = False) -> str:
        """Run profiles of the suite."""
        options = " ".join(f"--profile {name}" for name in names)
        return self.shell(f"hal conformance --backend acme --quick {options}", fails=fails)


def _run(command: list[object], folder: Path, environment: dict[str, str], *, status: int = 0) -> str:
    words = list(map(str, command))
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    """Somebody who brings up hardware."""
    return Vendor(tmp_path_factory.mktemp("vendor"))


def test_the_guide_leads_from_nothing_to_everything_but_the_executor(vendor: Vendor) -> None:
    printed = ""
    done: list[str] = []
    for step in steps():
        printed = _follow(vendor, step, printed)
        done.append(step.kind)
    assert {"shell", "ends with", "into", "left of memory", "pass"} <= set(done)
    # the guide says what is next when all of its code is there
    printed = vendor.profiles("executor", fails=True)
    assert "not written yet: Device.create_executor; see HAL-EXE-001 to HAL-EXE-005" in printed
    # and its code is as strict as what was generated
    _run([sys.executable, "-m", "mypy"], vendor.package, dict(os.environ))


def _follow(vendor: Vendor, step: Step, printed: str) -> str:
    match step.kind.split()[0]:
        case "shell":
            return vendor.shell(step.block, fails=step.about == "fails")
        case "ends":
            said, expected = printed.splitlines(), step.block.splitlines()
            assert said[-len(expected) - 1 : -1] == expected  # the last line is pytest's
            assert "Traceback" not in printed
        case "into":
            apply(step.block, vendor.package / "src" / "hal_acme" / step.about)
        case "left":
            said = vendor.profiles(step.kind.split()[2], fails=True)
            assert re.findall(r"^  ([\w.]+) +fails \d+ tests?$", said, re.MULTILINE) == step.about.split(", ")
            assert re.search(r"^\d+ passed", said, re.MULTILINE), said  # and none that has failed
        case "pass":
            said = vendor.profiles(*step.about.split())
            assert "verdict: partial" in said
    return printed


def test_what_was_generated_installs_as_a_wheel_too(vendor: Vendor) -> None:
    vendor.shell("hal new-backend other --facet transport --directory elsewhere")
    vendor.shell("pip install --quiet --no-build-isolation --no-deps ./elsewhere/hal-other")
    assert "not written yet: hal_probe" in vendor.shell("hal doctor", fails=True)
    said = vendor.shell("hal conformance --backend other --quick --profile transport", fails=True)
    assert "next: HAL-TRN-001" in said
    assert "capabilities: atomic_add, get" in said
