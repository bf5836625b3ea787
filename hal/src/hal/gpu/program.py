"""Device code to kernels: compiled at run time, kept on disk, loaded once a process."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hal.device import sources
from hal.device.source import INTRINSICS
from hal.gpu.driver import CompileError, Driver
from hal.gpu.kept import kept_or_made
from hal.interface.errors import UsageError


@dataclass(frozen=True)
class Kernel:
    """A kernel of a module."""

    handle: int
    name: str
    index: int
    """The device that it is loaded on."""


class Module:
    """Compiled code on a device. Its kernels are its attributes."""

    def __init__(self, driver: Driver, handle: int, index: int) -> None:
        self._driver = driver
        self.handle = handle
        self._index = index
        self._kernels: dict[str, Kernel] = {}

    def kernel(self, name: str) -> Kernel:
        """The kernel of a name (declared HAL_KERNEL, or extern "C"); `UsageError` where there is none."""
        if name not in self._kernels:
            try:
                found = self._driver.module_kernel(self.handle, name)
            except self._driver.errors as error:
                raise UsageError(f"the module has no kernel {name!r}: {error}") from error
            self._kernels[name] = Kernel(found, name, self._index)
        return self._kernels[name]

    def __getattr__(self, name: str) -> Kernel:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.kernel(name)


def compile_image(driver: Driver, architecture: str, source: str, options: Sequence[str]) -> bytes:
    """What the driver loads, from disk where this was compiled before. `UsageError` holds what the compiler says."""
    if "\0" in source:
        raise UsageError("the source holds a zero character: it is no program")
    headers = sources() | {INTRINSICS: driver.intrinsics.read_text()}
    options = [str(option) for option in options]
    parts = [source, architecture, *options, driver.version, *headers, *headers.values()]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    folder = cache_folder(driver)
    try:
        return kept_or_made(folder / key, lambda: driver.compile(architecture, source, headers, options))
    except CompileError as error:
        raise UsageError(f"the compiler refuses this: {error}") from error


def cache_folder(driver: Driver) -> Path:
    """Where compiled code is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hal" / driver.section


_lock = threading.Lock()
_loaded: dict[tuple[str, int, str], Module] = {}


def shared_kernel(driver: Driver, index: int, architecture: str, source: str, name: str) -> Kernel:
    """A kernel that all ranks of this process use, loaded once.

    Loading may wait until the device is idle, so that one rank's loading serves all that are threads of this process.
    """
    key = (driver.section, index, source)
    with _lock:
        module = _loaded.get(key)
        if module is None:
            image = compile_image(driver, architecture, source, ())
            with driver.doing("loading a kernel"):
                module = _loaded[key] = Module(driver, driver.module_load(image), index)
        return module.kernel(name)
