"""Device code to kernels: compiled at run time, kept on disk, loaded once a process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hal.device import sources
from hal.interface.errors import BackendUnavailable, UsageError
from hal_cuda.driver import Cuda

INTRINSICS = Path(__file__).parent / "include" / "intrinsics.h"
_DIGEST = 32


@dataclass(frozen=True)
class Kernel:
    """A kernel of a module."""

    handle: int
    name: str
    index: int
    """The device that it is loaded on."""


class Module:
    """Compiled code on a device. Its kernels are its attributes."""

    def __init__(self, cuda: Cuda, handle: int, index: int) -> None:
        self._cuda = cuda
        self.handle = handle
        self._index = index
        self._kernels: dict[str, Kernel] = {}

    def kernel(self, name: str) -> Kernel:
        """The kernel of a name (declared HAL_KERNEL, or extern "C"); `UsageError` where there is none."""
        if name not in self._kernels:
            try:
                found = int(self._cuda.driver.moduleGetFunction(self.handle, name))
            except self._cuda.errors as error:
                raise UsageError(f"the module has no kernel {name!r}: {error}") from error
            self._kernels[name] = Kernel(found, name, self._index)
        return self._kernels[name]

    def __getattr__(self, name: str) -> Kernel:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.kernel(name)


def target(cuda: Cuda, capability: tuple[int, int]) -> tuple[str, bool]:
    """What to compile for: the option's value, and whether that gives machine code (else the driver compiles on)."""
    wanted = capability[0] * 10 + capability[1]
    known = [arch for arch in cuda.nvrtc.getSupportedArchs() if arch <= wanted]
    if not known:
        version = ".".join(map(str, cuda.nvrtc.getVersion()))
        raise BackendUnavailable(
            f"NVRTC {version} does not compile for compute capability {capability}: use an older one"
        )
    best = max(known)
    # machine code runs on later devices of its major version
    return (f"sm_{best}", True) if best // 10 == capability[0] else (f"compute_{best}", False)


def compile_image(cuda: Cuda, capability: tuple[int, int], source: str, options: Sequence[str]) -> bytes:
    """What the driver loads, from disk where this was compiled before. `UsageError` holds what the compiler says."""
    if "\0" in source:
        raise UsageError("the source holds a zero character: it is no program")
    arch, binary = target(cuda, capability)
    headers = sources() | {"intrinsics.h": INTRINSICS.read_text()}
    flags = ["--std=c++17", f"--gpu-architecture={arch}", *map(str, options)]
    versions = [str(cuda.nvrtc.getVersion()), str(cuda.runtime.driverGetVersion())]
    key = hashlib.sha256("\0".join([source, *flags, *versions, *headers, *headers.values()]).encode()).hexdigest()
    kept = _read(key)
    if kept is not None:
        return kept
    nvrtc = cuda.nvrtc
    names, texts = [name.encode() for name in headers], [text.encode() for text in headers.values()]
    program = nvrtc.createProgram(source, "kernel.cu", texts, names)
    try:
        try:
            nvrtc.compileProgram(program, tuple(flags))
        except Exception as error:
            log = str(nvrtc.getProgramLog(program)).strip("\0\n")
            raise UsageError(f"the compiler refuses this: {log or error}") from error
        image = bytes(nvrtc.getCUBIN(program) if binary else nvrtc.getPTX(program))
    finally:
        nvrtc.destroyProgram(program)
    _write(key, image)
    return image


def cache_folder() -> Path:
    """Where compiled code is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hal" / "cuda"


def _read(key: str) -> bytes | None:
    path = cache_folder() / key
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            return None  # what others may write is not loaded
        data = path.read_bytes()
    except (OSError, RuntimeError):
        return None
    image = data[_DIGEST:]
    return image if image and hashlib.sha256(image).digest() == data[:_DIGEST] else None


def _write(key: str, image: bytes) -> None:
    """Keep it; where that cannot be, it is compiled again next time."""
    with contextlib.suppress(OSError, RuntimeError):
        folder = cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            try:
                file.write(hashlib.sha256(image).digest() + image)
                file.flush()
                os.replace(file.name, folder / key)
            except OSError:
                os.unlink(file.name)


_lock = threading.Lock()
_loaded: dict[tuple[int, str], Any] = {}


def shared_kernel(cuda: Cuda, index: int, capability: tuple[int, int], source: str, name: str) -> tuple[Kernel, bool]:
    """A kernel that all ranks of this process use, loaded once; whether it was loaded now.

    Loading may wait until the device is idle, so that one rank's loading serves all that are threads of this process.
    """
    key = (index, source)
    with _lock:
        module, fresh = _loaded.get(key), False
        if module is None:
            image = compile_image(cuda, capability, source, ())
            with cuda.doing("loading a kernel"):
                module = _loaded[key] = Module(cuda, int(cuda.driver.moduleLoadData(image)), index)
            fresh = True
        return module.kernel(name), fresh
