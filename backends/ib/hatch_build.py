"""Build step: compile the native module with one call of the C++ compiler. libibverbs is not needed for it.

hatchling calls it for a wheel and for an editable install; `python hatch_build.py` does only this step.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import nanobind
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"


def headers(root: Path) -> Path:
    """The folder of hal's headers for native parts: beside this source tree, or where hal is installed."""
    beside = root.parents[1] / "hal" / "src"
    if (beside / "hal" / "native" / "transport.h").is_file():
        return beside
    import hal.native

    return Path(hal.native.INCLUDE)


def compile_module(root: Path) -> Path:
    """Compile `root/native` for the running Python; the path of the module within `root/src/hal_ib`."""
    binding = Path(nanobind.source_dir())
    target = root / "src" / "hal_ib" / MODULE
    fresh = target.with_name(f"{MODULE}.{os.getpid()}")
    folders = [
        sysconfig.get_path("include"),
        nanobind.include_dir(),
        binding.parent / "ext" / "robin_map" / "include",
        headers(root),
    ]
    command = [
        *shlex.split(os.environ.get("CXX") or "c++"),
        *("-std=c++20", "-O2", "-DNDEBUG", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-strict-aliasing"),
        *(f"-I{folder}" for folder in folders),
        *map(str, sorted((root / "native").glob("*.cpp"))),
        str(binding / "nb_combined.cpp"),
        *("-ldl", "-o", str(fresh)),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise SystemExit(f"hal-ib: {shlex.join(command)} failed with exit status {done.returncode}")
    fresh.replace(target)  # a new file, not new content: a running process keeps what it has mapped
    return target


class NativeBuildHook(BuildHookInterface[Any]):
    """Compiles the module; a wheel takes it along, an editable install finds it in the source tree."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a wheel is made; `version` is "editable" or "standard"."""
        target = compile_module(Path(self.root))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version != "editable":
            build_data["force_include"][str(target)] = f"hal_ib/{MODULE}"


if __name__ == "__main__":
    compile_module(Path(__file__).resolve().parent)
