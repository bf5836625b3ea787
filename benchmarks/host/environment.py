"""The peers' environment, `.venv-peers`: made when needed, brought up to date when a pin changes.

It lies over the environment that runs this (HAL, NumPy): its interpreter is the same, and it sees all packages of it,
so that every contender runs on the same ones. Each MPI library lies in a folder of its own, since all bring `mpiexec`
and `libmpi`; mpi4py takes the one it is pointed to (see launch.py). What is compiled for a library, such as the loop
that calls it from C, lies in `built`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.host.contenders import FROM_C, Library

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-peers"
CONSTRAINTS = ROOT / "benchmarks" / "constraints-peers.txt"
_TIMEOUT = 1800.0
_HEADERS = {"impi-rt": "mpich"}
"""Whose headers a library is called with that brings none: MPI libraries of the same name and number are of one ABI."""


class InstallationError(Exception):
    """A peer could not be installed; the message says why."""


def prepare(libraries: Sequence[Library], say: Callable[[str], None]) -> dict[str, str]:
    """Make the environment and install what these libraries need; why not, by name, where that fails.

    The name is a library's, or a contender's where a library lacks one kind alone. What is there with the right
    version is left alone. `say` gets a line before each step that takes its time.
    """
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
                _install("mpi4py", pins, say)
                _install(library.package, pins, say, *_apart(library.package))
            elif library.adapter == "deepspeed":
                _install("torch", pins, say)
                _install("ninja", pins, say)
                # of its many dependencies the part that is used needs torch alone, also when it is installed
                _install(library.package, pins, say, "--no-deps", "--no-build-isolation")
            else:
                _install(library.package, pins, say)
        except InstallationError as error:
            failures[library.name] = f"not installed: {error}"
    for library in libraries:
        if library.name not in failures:
            try:
                _build(library, pins, say)
            except InstallationError as error:
                name = library.contender(FROM_C) if library.mpi is not None else library.name
                failures[name] = f"not compiled: {error}"
    return failures


def built(library: Library) -> Path:
    """Where what is compiled for a library lies."""
    return FOLDER / "built" / str(library.package)


def _apart(package: str) -> list[str]:
    return ["--ignore-installed", "--no-warn-script-location", "--prefix", str(FOLDER / package)]


def _install(package: str, pins: dict[str, str], say: Callable[[str], None], *options: str) -> None:
    stamp = FOLDER / "stamps" / package
    if _is_done(stamp, pins[package]):
        return
    say(f"installing {package} {pins[package]} into {FOLDER.name}")
    common = ["--disable-pip-version-check", "--no-input", "--quiet", "--constraint", str(CONSTRAINTS)]
    _run([str(FOLDER / "bin" / "python"), "-m", "pip", "install", *common, *options, package])
    _mark(stamp, pins[package])


def _build(library: Library, pins: dict[str, str], say: Callable[[str], None]) -> None:
    """Compile the loop that calls an MPI library from C, or DeepSpeed's part."""
    folder = built(library)
    if library.mpi is not None:
        assert library.package is not None
        prefix, source = FOLDER / library.package, Path(__file__).with_name("mpi_loop.c")
        made_of = f"{pins[library.package]} {source.read_text()}"
        if _is_done(folder / "stamp", made_of):
            return
        include = FOLDER / _HEADERS.get(library.package, library.package) / "include"
        if not (include / "mpi.h").is_file():
            raise InstallationError(f"there is no {include.relative_to(FOLDER)}/mpi.h")
        folder.mkdir(parents=True, exist_ok=True)
        output = ["-o", str(folder / "mpi_loop.so"), str(source), f"-L{prefix / 'lib'}", f"-l:{library.mpi}"]
        # undefined names of libraries that it needs in turn are found where mpi4py has loaded it
        options = ["-O3", "-shared", "-fPIC", "-Wl,--allow-shlib-undefined", "-Wl,--unresolved-symbols=ignore-all"]
        _run([_compiler(), *options, f"-I{include}", *output])
        _mark(folder / "stamp", made_of)
    elif library.adapter == "deepspeed":
        assert library.package is not None
        if _is_done(folder / "stamp", pins[library.package]):
            return
        say(f"compiling a part of {library.label}, two minutes")
        folder.mkdir(parents=True, exist_ok=True)
        _run([str(FOLDER / "bin" / "python"), "-m", "benchmarks.host.adapters.deepspeed", str(folder)])
        _mark(folder / "stamp", pins[library.package])


def _compiler() -> str:
    found = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    if found is None:
        raise InstallationError("no C compiler: there is neither cc, gcc nor clang")
    return found


def _is_done(stamp: Path, text: str) -> bool:
    return stamp.is_file() and stamp.read_text() == text


def _mark(stamp: Path, text: str) -> None:
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(text)


def _run(command: Sequence[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        clean |= {"PYTHONPATH": str(ROOT), "PATH": f"{FOLDER / 'bin'}{os.pathsep}{clean.get('PATH', '')}"}
        subprocess.run(
            command, env=clean, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=_TIMEOUT
        )
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or error.stderr.splitlines()
        raise InstallationError(" ".join(lines[-2:]) or f"status {error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise InstallationError(f"not done within {_TIMEOUT:g} s") from error
