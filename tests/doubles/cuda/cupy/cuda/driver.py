"""The driver API: modules are shared libraries; a launch is work on a stream."""

from __future__ import annotations

import contextlib
import ctypes
import tempfile

from . import runtime

with contextlib.suppress(OSError):
    ctypes.CDLL("libcuda.so.1", mode=ctypes.RTLD_GLOBAL)  # kernels ask it what multicast memory stands for

_modules: dict[int, ctypes.CDLL] = {}
_functions: dict[int, tuple] = {}


class CUDADriverError(RuntimeError):
    pass


def ctxGetCurrent():
    return 0x1000 + runtime.getDevice()


def streamGetCtx(stream):
    return 0x1000 + runtime._streams[stream].device


def moduleLoadData(image: bytes) -> int:
    number = len(_modules) + 1
    with tempfile.NamedTemporaryFile(suffix=".so") as file:  # a name of its own: the loader knows libraries by name
        file.write(image)
        file.flush()
        _modules[number] = ctypes.CDLL(file.name)
    return number


def moduleUnload(module):
    del _modules[module]


def moduleGetFunction(module: int, name: str) -> int:
    try:
        function = _modules[module][f"double_launch_{name}"]
    except AttributeError:
        raise CUDADriverError("CUDA_ERROR_NOT_FOUND: named symbol not found") from None
    number = len(_functions) + 0x100
    _functions[number] = (function, name)
    return number


def occupancyMaxActiveBlocksPerMultiprocessor(function, block, dynamic):
    assert function in _functions
    return 2048 // max(block, 64)


def launchKernel(f, gx, gy, gz, bx, by, bz, shared, stream, params, extra):
    assert (gy, gz, by, bz, shared, extra) == (1, 1, 1, 1, 0, 0)
    function, name = _functions[f]
    target = runtime._stream(stream)
    if target.device != runtime.getDevice():
        raise CUDADriverError("CUDA_ERROR_INVALID_HANDLE: invalid resource handle")
    count = 12 if name == "hal_execute" else 8
    taken = []  # the driver copies arguments when it is called
    for i in range(count):
        at = ctypes.c_void_p.from_address(params + 8 * i).value
        if not at or (name != "hal_execute" and i >= _count(params)):
            break
        taken.append(ctypes.c_uint64.from_address(at).value)
    values = [ctypes.c_uint64(value) for value in taken]
    pointers = (ctypes.c_void_p * max(1, count))(*(ctypes.addressof(value) for value in values))
    target.enqueue(lambda: function(gx, bx, pointers) and values)


def _count(params):
    return 0
