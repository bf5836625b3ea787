"""Build step: compile the native module with CMake and put it beside the Python files.

hatchling calls it for a wheel and for an editable install; `python hatch_build.py` does only this step, which is how
a change of the C++ sources gets into an editable install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import cmake
import nanobind
import ninja
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"


def compile_module(root: Path) -> Path:
    """Compile `root/native` for the running Python; the path of the module within `root/src/hal_host`."""
    build = root / "build" / f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
    # the tools of this build environment, whatever is first on PATH
    tool = Path(cmake.CMAKE_BIN_DIR) / "cmake"
    configure = [
        *(str(tool), "-S", str(root / "native"), "-B", str(build), "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={Path(ninja.BIN_DIR) / 'ninja'}",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-Dnanobind_DIR={nanobind.cmake_dir()}",
    ]
    # A configuration made with other paths (a build environment that is gone, a moved checkout) is made afresh, with
    # all that was compiled under it; otherwise only what changed is compiled.
    environment = [f"{name}={os.environ.get(name, '')}" for name in ("CXX", "CXXFLAGS", "LDFLAGS")]
    made_with = build / "made_with.txt"
    wanted = "\n".join([*configure, *environment])
    if not made_with.exists() or made_with.read_text() != wanted:
        shutil.rmtree(build, ignore_errors=True)
        _run(configure)
        made_with.write_text(wanted)
    _run([str(tool), "--build", str(build)])

    target = root / "src" / "hal_host" / MODULE
    fresh = target.with_name(f"{MODULE}.{os.getpid()}")
    shutil.copy2(build / MODULE, fresh)
    fresh.replace(target)  # a new file, not new content: a running process keeps what it has mapped
    return target


def _run(command: list[str]) -> None:
    """Show what the command printed only when it fails: a build that works has nothing to say."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise SystemExit(f"hal-host: {' '.join(command)} failed with exit status {done.returncode}")


class NativeBuildHook(BuildHookInterface[Any]):
    """Compiles the module; a wheel takes it along, an editable install finds it in the source tree."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a wheel is made; `version` is "editable" or "standard"."""
        target = compile_module(Path(self.root))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version != "editable":
            build_data["force_include"][str(target)] = f"hal_host/{MODULE}"


if __name__ == "__main__":
    compile_module(Path(__file__).resolve().parent)
