"""Kernels on the stand-in without HAL: compiled, loaded and launched by the calls of hiprtc and HIP."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from hal.device import sources
from hal_rocm.driver import RocmDriver

Array = NDArray[Any]
PRELUDE = """
#include <hal/device/arithmetic.h>
#define KERNEL HAL_KERNEL
using namespace hal::device;
"""
"""What a source begins with."""


class FailedError(Exception):
    """A call that HIP or hiprtc refuses, by its number."""


class Kernels:
    """The kernels of a source, for the architecture of the stand-in's devices."""

    def __init__(self, source: str, *options: str) -> None:
        self._library = ctypes.CDLL(os.path.join(os.environ["ROCM_PATH"], "lib", "libamdhip64.so"))
        self._module = ctypes.c_void_p()
        image = self._compile(PRELUDE + source, options)
        self._call("hipModuleLoadData", ctypes.byref(self._module), image)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise FailedError(f"{name} ends with {status}")

    def _compile(self, source: str, options: Sequence[str]) -> bytes:
        program, size = ctypes.c_void_p(), ctypes.c_size_t()
        headers = sources() | {"intrinsics.h": RocmDriver.intrinsics.read_text()}
        count = len(headers)
        texts = (ctypes.c_char_p * count)(*map(str.encode, headers.values()))
        names = (ctypes.c_char_p * count)(*map(str.encode, headers))
        create = self._library.hiprtcCreateProgram
        assert create(ctypes.byref(program), source.encode(), b"kernels", count, texts, names) == 0
        flags = [f"--offload-arch={os.environ['HIP_STANDIN_ARCH']}", "-std=c++17", "-ffp-contract=off", *options]
        given = (ctypes.c_char_p * len(flags))(*map(str.encode, flags))
        failed = self._library.hiprtcCompileProgram(program, len(flags), given)
        what = "ProgramLog" if failed else "Code"
        getattr(self._library, f"hiprtcGet{what}Size")(program, ctypes.byref(size))
        room = ctypes.create_string_buffer(size.value)
        getattr(self._library, f"hiprtcGet{what}")(program, room)
        if failed:
            raise FailedError(room.value.decode())
        return room.raw

    def run(self, name: str, *arguments: Array | int, blocks: int = 1, lanes: int = 64) -> None:
        """Run one to its end; arrays are memory of the device as they are, integers have 64 bits."""
        kernel = ctypes.c_void_p()
        self._call("hipModuleGetFunction", ctypes.byref(kernel), self._module, name.encode())
        values = [ctypes.c_uint64(each if isinstance(each, int) else each.ctypes.data) for each in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        self._call("hipModuleLaunchKernel", kernel, blocks, 1, 1, lanes, 1, 1, 0, None, pointers, None)
        self._call("hipDeviceSynchronize")
        self._call("hipGetLastError")
