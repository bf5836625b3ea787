"""The binding of HIP: AMD's `hip-python`, or `pyhip` (`pyhip-interface` on PyPI), behind one form of call.

`Binding.call("hipMalloc", 64)` takes what HIP's function takes, without its outputs, and returns what it puts out: an
integer, for an address too. A status other than success is raised as `HipError`.
"""

from __future__ import annotations

import abc
import ctypes
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hal.gpu.driver import once
from hal.interface.errors import BackendUnavailable

INSTALL = "pip install 'hal-rocm[hip-python]', or 'hal-rocm[pyhip]'"
_ENUMERATIONS = {"hipMemcpyAsync": (3, "hipMemcpyKind"), "hipStreamBeginCapture": (1, "hipStreamCaptureMode"),
                 "hipDeviceGetAttribute": (0, "hipDeviceAttribute_t")}  # fmt: skip
"""Calls of which hip-python takes one argument as a member of an enumeration: which, and of which."""

_STRUCTURES = {"hipGetDeviceProperties": "hipDeviceProp_t", "hipIpcGetMemHandle": "hipIpcMemHandle_st",
               "hipPointerGetAttributes": "hipPointerAttribute_t"}  # fmt: skip
"""The structure that a call fills."""


class HipError(RuntimeError):
    """HIP refuses a call."""

    def __init__(self, call: str, status: int, name: str) -> None:
        self.status = status
        super().__init__(f"{name} ({status}) in {call}")


class BindingError(Exception):
    """No binding can be used; the message says why."""

    def __init__(self, what: str, remedy: str = INSTALL) -> None:
        self.remedy = remedy
        super().__init__(what)


class Binding(abc.ABC):
    """HIP's functions by their names."""

    name: str
    """The binding and its version."""

    @abc.abstractmethod
    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function; its output, if it has one."""

    @abc.abstractmethod
    def structure(self, name: str, nbytes: int, *arguments: Any) -> bytes:
        """Call a function that fills a structure, its first parameter; the bytes of that."""


class HipPython(Binding):
    """AMD's. Versions 7 and 10 differ in who makes structures."""

    def __init__(self, hip: Any, version: str) -> None:
        self._hip = hip
        self.name = f"hip-python {version}"
        self._makes_structures = int(version.split(".")[0]) >= 10
        self._functions: dict[str, Any] = {}

    def call(self, name: str, *arguments: Any) -> Any:
        """See `Binding.call`."""
        if name in _ENUMERATIONS:
            at, kind = _ENUMERATIONS[name]
            arguments = (*arguments[:at], getattr(self._hip, kind)(arguments[at]), *arguments[at + 1 :])
        found = self._checked(name, arguments)
        if not found:
            return None
        value = found[0]
        return value if isinstance(value, float) else 0 if value is None else int(value)

    def structure(self, name: str, nbytes: int, *arguments: Any) -> bytes:
        """See `Binding.structure`."""
        if self._makes_structures:
            filled = self._checked(name, arguments)[0]
        else:
            filled = getattr(self._hip, _STRUCTURES[name])()
            self._checked(name, (filled, *arguments))
        return ctypes.string_at(int(filled), nbytes)

    def _checked(self, name: str, arguments: Iterable[Any]) -> list[Any]:
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = getattr(self._hip, name)
        status, *found = function(*arguments)
        if status.value:
            raise HipError(name, status.value, status.name)
        return list(found)


def find() -> Binding:
    """The binding that is installed; `BindingError` where none is, or the one that is cannot be used."""
    try:
        from hip import hip
    except ModuleNotFoundError as error:
        if error.name not in ("hip", "rocm"):
            raise BindingError(f"hip-python is installed but cannot be imported: {error}") from error
    except Exception as error:  # an import of native libraries may fail in any way
        raise BindingError(f"hip-python is installed but cannot be imported: {error}") from error
    else:
        import hip as package

        return HipPython(hip, str(getattr(package, "__version__", "7")))
    spec = importlib.util.find_spec("pyhip")
    if spec is None:
        raise BindingError("no binding of HIP is installed: neither hip-python nor pyhip-interface")
    if not any((Path(folder) / "hip.py").is_file() for folder in spec.submodule_search_locations or ()):
        raise BindingError(
            "the pyhip installed here is another package of that name, for unstructured meshes, and has no pyhip.hip",
            "pip uninstall pyhip, then pip install 'hal-rocm[pyhip]' (on PyPI HIP's is called pyhip-interface)",
        )
    from hal_rocm.pyhip import PyHip

    try:
        return PyHip()
    except Exception as error:  # it loads the library when it is imported
        raise BindingError(f"HIP's runtime library is not found: {error}; {searched()}", LIBRARY) from error


LIBRARY = "install ROCm, and set ROCM_PATH to its folder, and LD_LIBRARY_PATH to the folder lib in that"


def searched() -> str:
    """Where libamdhip64.so was looked for."""
    roots = [os.environ[name] for name in ("ROCM_PATH", "ROCM_HOME") if os.environ.get(name)] or ["/opt/rocm"]
    places = [f"{root}/lib" for root in roots]
    places += [place for place in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if place]
    return f"libamdhip64.so was looked for in {', '.join(places)} and where the system's loader looks"


@once
def load() -> Binding:
    """The binding, with HIP's library loaded; `BindingError` where that fails."""
    # Ranks that are threads wait for each other's kernels, so that no two may stand in one hardware queue. HIP reads
    # this once, when the process first uses it.
    os.environ.setdefault("GPU_MAX_HW_QUEUES", "16")
    binding = find()
    try:
        binding.call("hipRuntimeGetVersion")
    except HipError:
        pass  # the library is there
    except Exception as error:  # hip-python loads the library at the first call
        raise BindingError(f"HIP's runtime library is not found: {error}; {searched()}", LIBRARY) from error
    return binding


def needed() -> Binding:
    """The binding; `BackendUnavailable` where there is none."""
    try:
        return load()
    except BindingError as error:
        raise BackendUnavailable(f"{error}: {error.remedy}") from error
