"""`pyhip` as a binding. It wraps few of the calls needed: its library is called by the prototypes that are here."""

from __future__ import annotations

import ctypes
import importlib.metadata
from typing import Any

from hal_rocm.binding import Binding, HipError


class _IpcHandle(ctypes.Structure):
    _fields_ = (("reserved", ctypes.c_char * 64),)


_TYPES: dict[str, Any] = {"i": ctypes.c_int, "u": ctypes.c_uint, "z": ctypes.c_size_t, "q": ctypes.c_ulonglong,
          "f": ctypes.c_float, "p": ctypes.c_void_p, "s": ctypes.c_char_p, "h": _IpcHandle}  # fmt: skip
NOT_SUPPORTED = 801
PROTOTYPES = {
    "hipDeviceCanAccessPeer": ">i i i", "hipDeviceEnablePeerAccess": "i u", "hipDeviceGetAttribute": ">i i i",
    "hipEventCreateWithFlags": ">p u", "hipEventDestroy": "p", "hipEventElapsedTime": ">f p p", "hipEventQuery": "p",
    "hipEventRecord": "p p", "hipExtMallocWithFlags": ">p z u", "hipGetDevice": ">i", "hipGetDeviceCount": ">i",
    "hipGraphDestroy": "p", "hipGraphExecDestroy": "p", "hipGraphInstantiateWithFlags": ">p p q",
    "hipGraphLaunch": "p p", "hipHostFree": "p", "hipHostMalloc": ">p z u", "hipIpcCloseMemHandle": "p",
    "hipIpcOpenMemHandle": ">p h u",
    "hipMemcpyAsync": "p p z i p", "hipMemsetAsync": "p i z p", "hipModuleGetFunction": ">p p s",
    "hipModuleLaunchKernel": "p u u u u u u u p p p", "hipModuleLoadData": ">p s",
    "hipModuleOccupancyMaxActiveBlocksPerMultiprocessor": ">i p i z", "hipModuleUnload": "p",
    "hipRuntimeGetVersion": ">i", "hipSetDevice": "i", "hipStreamBeginCapture": "p i",
    "hipStreamCreateWithFlags": ">p u", "hipStreamDestroy": "p", "hipStreamEndCapture": "p >p",
    "hipStreamGetDevice": "p >i", "hipStreamIsCapturing": "p >i", "hipStreamQuery": "p", "hipStreamSynchronize": "p",
    "hipStreamWaitEvent": "p p u",
}  # fmt: skip
"""The parameters of each call; `>` stands before its output."""


class PyHip(Binding):
    """The library that `pyhip` loads."""

    def __init__(self) -> None:
        from pyhip import hip

        self._library = hip._libhip
        self._name_of = hip._libhip.hipGetErrorName
        self.name = f"pyhip-interface {importlib.metadata.version('pyhip-interface')}"
        self._functions: dict[str, tuple[Any, int, Any]] = {}

    def _function(self, name: str) -> tuple[Any, int, Any]:
        # prototypes of our own: pyhip has others for some of these
        form = PROTOTYPES[name].split()
        types = [ctypes.POINTER(_TYPES[each[1]]) if each[0] == ">" else _TYPES[each] for each in form]
        output = next((at for at, each in enumerate(form) if each[0] == ">"), -1)
        try:
            made = ctypes.CFUNCTYPE(ctypes.c_int, *types)((name, self._library))
        except AttributeError:  # of a later version of HIP
            raise HipError(name, NOT_SUPPORTED, "hipErrorNotSupported") from None
        return made, output, _TYPES[form[output][1]] if output >= 0 else None

    def call(self, name: str, *arguments: Any) -> Any:
        """See `Binding.call`."""
        if name == "hipIpcOpenMemHandle":
            arguments = (_IpcHandle.from_buffer_copy(arguments[0]), *arguments[1:])
        found = self._functions.get(name)
        if found is None:
            found = self._functions[name] = self._function(name)
        function, output, kind = found
        if output < 0:
            self._check(name, function(*arguments))
            return None
        value = kind()
        self._check(name, function(*arguments[:output], ctypes.byref(value), *arguments[output:]))
        return value.value or 0

    def structure(self, name: str, nbytes: int, *arguments: Any) -> bytes:
        """See `Binding.structure`."""
        # the name without a suffix means the layout of ROCm 5
        symbol = "hipGetDevicePropertiesR0600" if name == "hipGetDeviceProperties" else name
        filled = ctypes.create_string_buffer(max(nbytes, 4096))
        types = [ctypes.c_int if name == "hipGetDeviceProperties" else ctypes.c_void_p]
        function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *types)((symbol, self._library))
        self._check(name, function(ctypes.addressof(filled), *arguments))
        return filled.raw[:nbytes]

    def _check(self, name: str, status: int) -> None:
        if status:
            raise HipError(name, status, self._name_of(status).decode())
