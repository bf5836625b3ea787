"""Copy engines behind port channels: what a kernel posts is copied by the driver, while the kernel goes on.

Each lane of a group has a queue in host memory that the device reaches, and a native thread that serves it
(native/engine.cpp). That is compiled where it is used for the first time, and kept: it is all of `hal.gpu` that is
native, and whoever leaves `copies` at `kernel` needs no compiler.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shlex
import shutil
import struct
import subprocess
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

from hal.device.channels import TRIGGER_BYTES
from hal.gpu.driver import Driver
from hal.gpu.kept import kept_or_made
from hal.gpu.program import cache_folder
from hal.interface.errors import BackendUnavailable

SOURCE = Path(__file__).parent / "native" / "engine.cpp"
CAPACITY = 64
"""Triggers of a queue."""
RING_BYTES = CAPACITY * TRIGGER_BYTES + 64
"""Host memory of a queue: its triggers, then the word `done`."""
COMPILING = 120.0
"""Seconds that the compiler may take."""
_SETUP = struct.Struct("=5Qq6Q")


_lock = threading.Lock()
_library: ctypes.CDLL | None = None


class CopyEngine:
    """The thread that serves one queue. `close` ends it, as does the end of the process."""

    def __init__(self, driver: Driver, *, stream: int, ring: int, abort: int, abort_value: int) -> None:
        """`ring` is where `RING_BYTES` of zeros lie; `abort_value` is stored at `abort` when a copy fails.

        The device is current. `BackendUnavailable` where `prepare` would raise it, or where there is no thread.
        """
        self._driver = driver
        self._native = native = prepare(driver)
        calls = driver.copy_calls
        self._held, functions = _functions(driver)
        queue = ring, CAPACITY, ring + CAPACITY * TRIGGER_BYTES
        setup = _SETUP.pack(*functions, driver.context(), calls.direction, stream, *queue, abort, abort_value)
        self._proxy = native.hal_engine_start(setup)
        if not self._proxy:
            raise BackendUnavailable("the system gives no thread for a copy engine")
        self._end = weakref.finalize(self, _stop, native, self._proxy, os.getpid())
        self._failed: BackendUnavailable | None = None

    def failed(self) -> BackendUnavailable | None:
        """The error of a copy that failed, or None."""
        if self._failed is None and self._end.alive:
            refused = (ctypes.c_uint64 * 3)()
            status = self._native.hal_engine_error(self._proxy, refused)
            if status:
                target, source, nbytes = refused
                what = f" {nbytes} bytes from {source:#x} to {target:#x}" if nbytes else ""
                self._failed = BackendUnavailable(
                    f"copying{what} for a port channel ({self._driver.section}.copies = engine): "
                    f"{self._driver.label} says status {status}"
                )
        return self._failed

    @property
    def carried_out(self) -> int:
        """Triggers carried out so far; 0 once it is closed."""
        return int(self._native.hal_engine_carried_out(self._proxy)) if self._end.alive else 0

    def halt(self) -> None:
        """Begin no more copies. Waits for nothing."""
        if self._end.alive:
            self._native.hal_engine_halt(self._proxy)

    def close(self) -> None:
        """End the thread; copies under way end before, if they do within 5 s."""
        self.failed()
        self._end()


def _stop(native: ctypes.CDLL, proxy: int, pid: int) -> None:
    if os.getpid() == pid:  # a process that was forked has no such thread
        native.hal_engine_stop(proxy)


def _functions(driver: Driver) -> tuple[ctypes.CDLL, list[int]]:
    """The driver's library, and where its functions lie that the thread calls."""
    calls = driver.copy_calls
    try:
        library = ctypes.CDLL(_place(calls.library))
        found = [getattr(library, name) for name in (calls.enter, calls.exchange, calls.copy, calls.query)]
    except (OSError, AttributeError) as error:
        raise BackendUnavailable(f"{_setting(driver)}: {driver.label}'s library cannot be called: {error}") from error
    return library, [ctypes.cast(function, ctypes.c_void_p).value or 0 for function in found]


def _place(library: str) -> str:
    """Where the library lies that the binding has loaded, of whatever version; its name where none is loaded."""
    stem = library.partition(".so")[0] + ".so"
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")
            if path[1] and os.path.basename(path[2]).startswith(stem):
                return "/" + path[2]
    return library


def prepare(driver: Driver) -> ctypes.CDLL:
    """The native part, compiled now where that was not done before.

    `BackendUnavailable` where a compiler is needed and there is none, or the driver's library lacks a function.
    """
    global _library
    with _lock:
        if _library is None:
            _functions(driver)
            _library = _loaded(driver)
        return _library


def _loaded(driver: Driver) -> ctypes.CDLL:
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "engine.so"
            path.write_bytes(_image(driver, path))
            library = ctypes.CDLL(str(path))
    except OSError as error:
        raise BackendUnavailable(f"{_setting(driver)}: the native part cannot be loaded: {error}") from error
    pointer = ctypes.c_void_p
    for name, result, parameters in (
        ("start", pointer, [ctypes.c_char_p]),
        ("error", ctypes.c_int, [pointer, pointer]),
        ("carried_out", ctypes.c_uint64, [pointer]),
        ("halt", None, [pointer]),
        ("stop", None, [pointer]),
    ):
        function: Any = getattr(library, f"hal_engine_{name}")
        function.restype, function.argtypes = result, parameters
    return library


def _setting(driver: Driver) -> str:
    return f"{driver.section}.copies = engine"


def _image(driver: Driver, path: Path) -> bytes:
    own = shlex.split(os.environ.get("CXX", ""))
    compilers = [own] if own else [["c++"], ["g++"], ["clang++"]]
    compiler = next((words for words in compilers if shutil.which(words[0])), None)
    if compiler is None:
        missing = f"CXX names {own[0]}, which is not there" if own else "none is found: install one, or set CXX"
        raise BackendUnavailable(f"{_setting(driver)} needs a C++ compiler, and {missing}")
    command = [*compiler, "-std=c++17", "-O2", "-shared", "-fPIC", "-pthread", str(SOURCE), "-o"]
    key = hashlib.sha256("\0".join([*command, os.uname().machine, SOURCE.read_text()]).encode()).hexdigest()

    def compiled() -> bytes:
        try:
            done = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=COMPILING, check=False)
        except subprocess.TimeoutExpired:
            raise BackendUnavailable(
                f"{_setting(driver)}: {compiler[0]} did not end within {COMPILING:.0f} s"
            ) from None
        if done.returncode:
            raise BackendUnavailable(
                f"{_setting(driver)}: {compiler[0]} refuses the native part: {done.stderr.strip()}"
            )
        return path.read_bytes()

    return kept_or_made(cache_folder(driver) / key, compiled)
