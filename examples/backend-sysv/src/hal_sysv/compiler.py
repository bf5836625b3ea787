"""Compiling device code with the C++ compiler of this machine, into a cache that all processes of the user share."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import os
import platform
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from hal.device import include_path, sources
from hal.interface.errors import BackendUnavailable, UsageError
from hal_sysv.plugin import compiler

INCLUDE = Path(__file__).parent / "include"
OPTIONS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=off", "-x", "c++")
ONE_LANE = "-DHAL_SYSV_ONE_LANE"
"""Blocks of one lane, in code that is faster for it."""


def compile_library(source: str, options: Sequence[str], timeout: float) -> ctypes.CDLL:
    """The library that `source` makes, compiled at the first use. It has the symbol `hal_sysv_launch`.

    `UsageError` where the source is none, with what the compiler says; `BackendUnavailable` where there is no compiler,
    where it takes longer than `timeout` seconds, or where there is no place for the result.
    """
    cxx = compiler()
    if cxx is None:
        named = os.environ.get("CXX") or "c++"
        raise BackendUnavailable(f"there is no C++ compiler {named!r}: install g++, or name another one with CXX")
    folder = _folder()
    library = folder / f"{_key(cxx, source, options)}.so"
    deadline = time.monotonic() + timeout
    for attempt in range(2):
        if not library.exists():
            with _locked(library.with_suffix(".lock"), deadline):
                if not library.exists():
                    _compile(cxx, source, options, library, deadline)
        try:
            return ctypes.CDLL(str(library))
        except OSError as error:  # the machine went down while it was written, perhaps
            library.unlink(missing_ok=True)
            if attempt:
                raise BackendUnavailable(f"what the compiler {cxx} has made cannot be loaded: {error}") from error
    raise AssertionError


@functools.cache
def _version(cxx: str) -> str:
    done = subprocess.run([cxx, "--version"], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


@functools.cache
def _headers() -> str:
    own = {path.name: path.read_text() for path in sorted(INCLUDE.glob("*.h"))}
    return repr(sorted({**sources(), **own}.items()))


def _key(cxx: str, source: str, options: Sequence[str]) -> str:
    try:
        version = _version(cxx)
    except (OSError, subprocess.SubprocessError) as error:
        raise BackendUnavailable(f"the C++ compiler {cxx} does not run: {error}") from error
    parts = (cxx, version, platform.machine(), *OPTIONS, *options, source, _headers())
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _folder() -> Path:
    """Where libraries are kept: of this user alone, since they are loaded as they are."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base) / "hal-sysv"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise BackendUnavailable(
            f"no folder for compiled kernels: {error}; name another with XDG_CACHE_HOME"
        ) from error
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise BackendUnavailable(f"others may write to {folder}, where compiled kernels are kept: take the right away")
    return folder


@contextlib.contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """One process at a time compiles a source; the others wait for what it makes."""
    with open(path, "w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline:
                    raise BackendUnavailable(
                        f"another process has been compiling too long (its lock: {path})"
                    ) from None
                time.sleep(0.02)
        yield


def _compile(cxx: str, source: str, options: Sequence[str], library: Path, deadline: float) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="compiling-") as scratch:
        text, made = Path(scratch) / "kernel.cpp", Path(scratch) / "kernel.so"
        text.write_text(source, errors="surrogatepass")
        paths = [f"-I{INCLUDE}", f"-I{include_path()}", "-include", str(INCLUDE / "fibers.h")]
        command = [cxx, *OPTIONS, *options, *paths, str(text), "-o", str(made)]
        limit = max(deadline - time.monotonic(), 0.001)
        try:
            status, errors = _run(command, limit)
        except subprocess.TimeoutExpired as error:
            raise BackendUnavailable(
                f"the compiler {cxx} is not done in time: raise the setting `sysv.compile_timeout`"
            ) from error
        except OSError as error:
            raise BackendUnavailable(f"the C++ compiler {cxx} does not run: {error}") from error
        if status:
            said = errors.replace(str(text), "kernel").strip()
            raise UsageError(f"the source does not compile:\n{said or f'{cxx} ended with {status}'}")
        os.replace(made, library)


def _run(command: Sequence[str], limit: float) -> tuple[int, str]:
    """Exit status and errors of a command; whatever ends the wait ends its children too, as compilers have some."""
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            _, errors = process.communicate(timeout=limit)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return process.returncode, errors
