"""Device code compiled by clang to machine code of AMD GPUs, and its instructions, kernel by kernel."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from hal.device import include_path
from hal_rocm.driver import RocmDriver

from ..doubles.hip.standin import Clang

TARGETS = ("gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1201")
FLAGS = ("-x", "hip", "--offload-device-only", "--no-gpu-bundle-output", "-nogpulib", "-nogpuinc", "-O3", "-std=c++17",
         "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", f"-I{include_path()}",
         f"-I{RocmDriver.intrinsics.parent}")  # fmt: skip


def compile_for(clang: Clang, source: str, target: str, folder: Path) -> Path:
    """A code object; fails with the compiler's words."""
    program, image = folder / f"{target}.hip", folder / f"{target}.co"
    program.write_text(source)
    command = [clang.tool("clang++"), *FLAGS, f"--offload-arch={target}", str(program), "-o", str(image)]
    done = subprocess.run(command, env=clang.environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return image


def instructions(clang: Clang, image: Path) -> dict[str, list[str]]:
    """The instructions of each function as text, in order, with single spaces."""
    command = [clang.tool("llvm-objdump"), "-d", str(image)]
    done = subprocess.run(command, env=clang.environment, capture_output=True, text=True, timeout=120, check=True)
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.+)>:", line):
            found[head[1]] = []
        elif line.startswith("\t"):
            found[list(found)[-1]].append(" ".join(line.split("//")[0].split()))
    return found
