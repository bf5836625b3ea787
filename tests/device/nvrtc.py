"""NVRTC by its C interface: device code to PTX and to machine code, with no GPU."""

from __future__ import annotations

import ctypes
import importlib.metadata
from pathlib import Path

import pytest

from hal.device import sources

INTRINSICS = Path(__file__).parents[2] / "backends/cuda/src/hal_cuda/include/intrinsics.h"
DISTRIBUTIONS = ("nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc")


def load() -> ctypes.CDLL:
    """The library from PyPI; skips where it is not installed."""
    for name in DISTRIBUTIONS:
        try:
            files = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name.startswith("libnvrtc.so"):
                return ctypes.CDLL(str(file.locate()))
    pytest.skip(f"NVRTC is not installed: pip install {DISTRIBUTIONS[0]}")


class Compiled:
    """What one compilation made."""

    def __init__(self, ptx: str, cubin: bytes, log: str) -> None:
        self.ptx = ptx
        self.cubin = cubin
        self.log = log


def compile_source(library: ctypes.CDLL, source: str, arch: str, *options: str) -> Compiled:
    """Compile device code for `arch`, given HAL's headers and the intrinsics; fails with the compiler's log."""
    headers = sources() | {"intrinsics.h": INTRINSICS.read_text()}
    names = (ctypes.c_char_p * len(headers))(*(name.encode() for name in headers))
    texts = (ctypes.c_char_p * len(headers))(*(text.encode() for text in headers.values()))
    program = ctypes.c_void_p()
    status = library.nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), b"kernel.cu", len(headers), texts, names
    )
    assert status == 0
    flags = [f"--gpu-architecture={arch}", "--std=c++17", *options]
    given = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    try:
        status = library.nvrtcCompileProgram(program, len(flags), given)
        log = _fetch(library, program, "ProgramLog").decode().rstrip("\0")
        assert status == 0, log
        return Compiled(_fetch(library, program, "PTX").decode().rstrip("\0"), _fetch(library, program, "CUBIN"), log)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _fetch(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    assert getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
    data = ctypes.create_string_buffer(size.value)
    assert getattr(library, f"nvrtcGet{what}")(program, data) == 0
    return data.raw[: size.value]
