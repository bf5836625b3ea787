"""The native core under ThreadSanitizer: ranks as threads, without Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hal.interface.dtypes import DType
from hal.plan.layout import Layout
from hal.plan.lower import lower
from hal_collectives.algorithms import get

NATIVE = Path(__file__).parents[1] / "native"
SCRATCH = 1 << 21


def compiled(folder: Path) -> Path:
    compiler = shutil.which(os.environ.get("CXX") or "c++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    program = folder / "sanitized"
    sources = [Path(__file__).parent / "sanitized.cpp", *(NATIVE / f"{n}.cpp" for n in CORE)]
    kernels = [NATIVE / "kernels" / f"{n}.cpp" for n in ("integers", "floats", "copy")]
    flags = ["-std=c++20", "-O1", "-g", "-fsanitize=thread", "-pthread", f"-I{NATIVE}", f"-I{NATIVE / 'kernels'}"]
    done = subprocess.run(
        [compiler, *flags, *map(str, sources), *map(str, kernels), "-o", str(program)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return program
