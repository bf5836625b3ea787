"""The compiler: device code to a shared library, by the C++ compiler and the intrinsics for CPUs."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

CPU = Path(__file__).parents[4] / "device" / "cpu"
_programs: dict[int, _Program] = {}


class NVRTCError(RuntimeError):
    pass


class _Program:
    def __init__(self, source, names, texts):
        self.source, self.headers, self.log, self.image = source, dict(zip(names, texts, strict=True)), "", b""


def getVersion():
    return (12, 0)


def getSupportedArchs():
    return (70, 75, 80, 90)


def createProgram(source: str, name: str, headers: list[bytes], include_names: list[bytes]) -> int:
    assert all(isinstance(each, bytes) for each in (*headers, *include_names))
    number = max(_programs, default=0) + 1
    _programs[number] = _Program(source, include_names, headers)
    return number


def destroyProgram(number):
    del _programs[number]


def compileProgram(number, options):
    program = _programs[number]
    assert {"--std=c++17"} < set(options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for header, text in program.headers.items():
            path = folder / header.decode()
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.name != "intrinsics.h":  # those of the CPU stand in for the vendor's
                path.write_bytes(text)
        entries = []
        for kernel, parameters in re.findall(r"HAL_KERNEL void (\w+)\(([^)]*)\)", program.source):
            count = len([part for part in parameters.split(",") if part.strip()])
            values = ", ".join(f"*a[{i}]" for i in range(count))
            entries.append(
                f'extern "C" void double_launch_{kernel}(unsigned g, unsigned b, unsigned long long** a) {{\n'
                f"  hal::device::run_grid(g, b, 0, [&] {{ {'hal::device::' * ('namespace hal' in program.source)}"
                f"{kernel}({values}); }});\n}}\n"
                f'extern "C" const unsigned double_arguments_{kernel} = {count};\n'
            )
        (folder / "kernel.cpp").write_text(program.source + '\n#include "grid.h"\n' + "".join(entries))
        command = [os.environ.get("CXX", "g++"), "-std=c++17", "-O1", "-shared", "-fPIC", "-pthread", f"-I{CPU}",
                   f"-I{folder}", str(folder / "kernel.cpp"), "-o", str(folder / "kernel.so")]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        program.log = done.stderr
        if done.returncode:
            raise NVRTCError("NVRTC_ERROR_COMPILATION (6)")
        program.image = (folder / "kernel.so").read_bytes()


def getProgramLog(number):
    return _programs[number].log


def getCUBIN(number):
    return _programs[number].image


def getPTX(number):
    return _programs[number].image
