"""The peers' environment, `.venv-peers`: made when needed, brought up to date when a pin changes.

It lies over the environment that runs this (HAL, NumPy): its interpreter is the same, and it sees all packages of it,
so that every contender runs on the same ones. Each MPI library lies in a folder of its own, since all bring `mpiexec`
and `libmpi`; mpi4py takes the one it is pointed to (see launch.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.host.contenders import Library

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-peers"
CONSTRAINTS = ROOT / "benchmarks" / "constraints-peers.txt"
_TIMEOUT = 1800.0


class InstallationError(Exception):
    """A peer could not be installed; the message says why."""


def prepare(libraries: Sequence[Library], say: Callable[[str], None]) -> dict[str, str]:
    """Make the environment and install what these libraries need; why not, by the library's name, where that fails.

    What is there with the right version is left alone. `say` gets a line before each step that takes its time.
    """
    python = FOLDER / "bin" / "python"
    under = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    overlay = Path(sysconfig.get_path("purelib", vars={"base": str(FOLDER), "platbase": str(FOLDER)}), "below.pth")
    if not overlay.is_file() or overlay.read_text() != under:
        say(f"making {FOLDER.name}")
        _run([sys.executable, "-m", "venv", "--clear", str(FOLDER)])
        overlay.write_text(under)
    pins = dict(line.split("==") for line in CONSTRAINTS.read_text().split() if "==" in line)
    failures: dict[str, str] = {}
    for library in libraries:
        if library.package is None:
            continue
        try:
            if library.mpi is not None:
                _install(python, "mpi4py", pins, None, say)
                _install(python, library.package, pins, FOLDER / library.package, say)
            else:
                _install(python, library.package, pins, None, say)
        except InstallationError as error:
            failures[library.name] = f"not installed: {error}"
    return failures


def _install(python: Path, package: str, pins: dict[str, str], prefix: Path | None, say: Callable[[str], None]) -> None:
    stamp = FOLDER / "stamps" / package
    if stamp.is_file() and stamp.read_text() == pins[package]:
        return
    say(f"installing {package} {pins[package]} into {FOLDER.name}")
    where = [] if prefix is None else ["--ignore-installed", "--no-warn-script-location", "--prefix", str(prefix)]
    options = ["--disable-pip-version-check", "--no-input", "--quiet", "--constraint", str(CONSTRAINTS)]
    _run([str(python), "-m", "pip", "install", *options, *where, package])
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(pins[package])


def _run(command: Sequence[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        subprocess.run(
            command, env=clean, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=_TIMEOUT
        )
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or error.stderr.splitlines()
        raise InstallationError(" ".join(lines[-2:]) or f"status {error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise InstallationError(f"not done within {_TIMEOUT:g} s") from error
