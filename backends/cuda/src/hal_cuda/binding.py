"""CuPy's binding of the driver, and every call that this backend makes of it.

Nothing else in the package imports CuPy. Calls are named as in `cupy.cuda`: without their prefix, raising where CUDA
returns a status.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

from hal.interface.errors import BackendUnavailable

RUNTIME = (
    "deviceCanAccessPeer", "deviceEnablePeerAccess", "deviceGetAttribute", "driverGetVersion", "eventCreate",
    "eventCreateWithFlags", "eventDestroy", "eventElapsedTime", "eventQuery", "eventRecord", "freeHost",
    "getDevice", "getDeviceCount", "getDeviceProperties", "graphDestroy", "graphExecDestroy", "graphInstantiate",
    "graphLaunch", "hostAlloc", "ipcCloseMemHandle", "ipcGetMemHandle", "ipcOpenMemHandle", "malloc", "memcpyAsync",
    "memsetAsync", "pointerGetAttributes", "runtimeGetVersion", "setDevice", "streamBeginCapture",
    "streamCreateWithFlags", "streamDestroy", "streamEndCapture", "streamIsCapturing", "streamQuery",
    "streamSynchronize", "streamWaitEvent",
)  # fmt: skip
"""Calls of `cupy.cuda.runtime`, the runtime API."""
DRIVER = (
    "ctxGetCurrent", "launchKernel", "moduleGetFunction", "moduleLoadData", "moduleUnload",
    "occupancyMaxActiveBlocksPerMultiprocessor", "streamGetCtx",
)  # fmt: skip
"""Calls of `cupy.cuda.driver`, the driver API."""
NVRTC = ("compileProgram", "createProgram", "destroyProgram", "getCUBIN", "getProgramLog", "getPTX",
         "getSupportedArchs", "getVersion")  # fmt: skip
"""Calls of `cupy.cuda.nvrtc`, the compiler."""

# Values of CUDA's enumerations (driver_types.h).
INVALID_VALUE, MEMORY_ALLOCATION, INSUFFICIENT_DRIVER, NO_DEVICE, INVALID_DEVICE = 1, 2, 35, 100, 101
NOT_READY, PEER_ACCESS_ALREADY_ENABLED = 600, 704
UNREGISTERED, HOST, DEVICE, MANAGED = 0, 1, 2, 3
COPY_DEFAULT = 4
STREAM_NON_BLOCKING, EVENT_WITHOUT_TIME = 1, 2
HOST_PORTABLE_MAPPED = 1 | 2
CAPTURE_THREAD_LOCAL = 1
LEGACY_STREAM, PER_THREAD_STREAM = 1, 2
MAX_THREADS_PER_BLOCK, UNIFIED_ADDRESSING = 1, 41

LEAST_CAPABILITY = (7, 0)
"""The first architecture with loads and stores of the memory model that device code uses."""

CONNECTIONS = "CUDA_DEVICE_MAX_CONNECTIONS"
MOST_CONNECTIONS = 32


@dataclass(frozen=True)
class Binding:
    """The three modules of a binding."""

    runtime: Any
    driver: Any
    nvrtc: Any
    version: str
    """CuPy's."""


class BindingError(Exception):
    """CuPy cannot be used; the message says why."""


@functools.cache
def load() -> Binding:
    """Import CuPy; `BindingError` where that fails."""
    # Ranks that are threads wait for each other's kernels, so that no two may stand in one hardware queue. CUDA reads
    # this once, when the process first uses it.
    os.environ.setdefault(CONNECTIONS, str(MOST_CONNECTIONS))
    try:
        import cupy
        from cupy.cuda import driver, nvrtc, runtime
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise BindingError(f"CuPy is installed but cannot be imported: {error}") from error
        raise BindingError("CuPy is not installed") from error
    except Exception as error:  # an import of native libraries may fail in any way
        raise BindingError(f"CuPy is installed but cannot be imported: {error}") from error
    if getattr(runtime, "is_hip", False):
        raise BindingError("the CuPy installed here is made for another vendor's GPUs")
    for module, calls in ((runtime, RUNTIME), (driver, DRIVER), (nvrtc, NVRTC)):
        if lacking := [name for name in calls if not hasattr(module, name)]:
            raise BindingError(f"CuPy {cupy.__version__} is too old: {module.__name__} lacks {', '.join(lacking)}")
    return Binding(runtime, driver, nvrtc, cupy.__version__)


def driver_problem(cuda: Binding) -> tuple[str, str] | None:
    """What is wrong with the driver, and what to do about it; None where it is there and new enough."""
    made_for, found = cuda.runtime.runtimeGetVersion(), cuda.runtime.driverGetVersion()
    if not found:
        return (
            "there is no driver: libcuda.so.1 is not found",
            "install NVIDIA's driver; in a container, start it with access to the GPUs (docker run --gpus all)",
        )
    # within a major version a program runs on the driver of any minor one
    if found // 1000 < made_for // 1000:
        other = f", or install CuPy for CUDA {found // 1000} (cupy-cuda{found // 1000}x)" if found >= 12000 else ""
        return (
            f"the driver is too old: it is made for CUDA {_text(found)}, this CuPy for {_text(made_for)}",
            f"install a driver for CUDA {made_for // 1000}.0 or newer{other}",
        )
    return None


def _text(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def needed() -> Binding:
    """The binding; `BackendUnavailable` where there is none, or no driver that it can use."""
    try:
        found = load()
    except BindingError as error:
        raise BackendUnavailable(f"{error}: {INSTALL}") from error
    if (lacking := driver_problem(found)) is not None:
        raise BackendUnavailable(": ".join(lacking))
    return found


INSTALL = "pip install 'hal-cuda[cuda12]', or 'hal-cuda[cuda13]' for a driver of CUDA 13"
