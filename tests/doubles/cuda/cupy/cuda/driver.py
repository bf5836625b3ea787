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
        count = ctypes.c_uint.in_dll(_modules[module], f"double_arguments_{name}").value
    except AttributeError:
        raise CUDADriverError("CUDA_ERROR_NOT_FOUND: named symbol not found") from None
    number = len(_functions) + 0x100
    _functions[number] = (function, count)
    return number


def occupancyMaxActiveBlocksPerMultiprocessor(function, block, dynamic):
    assert function in _functions
    return 2048 // max(block, 64)


def launchKernel(f, gx, gy, gz, bx, by, bz, shared, stream, params, extra):
    assert (gy, gz, by, bz, shared, extra) == (1, 1, 1, 1, 0, 0)
    function, count = _functions[f]
    target = runtime._stream(stream)
    if target.device != runtime.getDevice():
        raise CUDADriverError("CUDA_ERROR_INVALID_HANDLE: invalid resource handle")
    pointers = (ctypes.c_void_p * count).from_address(params)
    # the driver copies arguments when it is called
    values = [ctypes.c_uint64(ctypes.c_uint64.from_address(at).value) for at in pointers]
    copied = (ctypes.c_void_p * max(1, count))(*(ctypes.addressof(value) for value in values))
    target.enqueue(lambda: function(gx, bx, copied) and values)
