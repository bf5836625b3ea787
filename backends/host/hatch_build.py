"""Build step: compile the native module with CMake and put it beside the Python files."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import sysconfig
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeBuildHook(BuildHookInterface[Any]):
    """Runs CMake in `build/`; the wheel takes the module along, an editable install finds it in the source tree."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; called by hatchling before a wheel is made."""
        root = pathlib.Path(self.root)
        build = root / "build" / f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
        configure = ["cmake", "-S", root / "native", "-B", build, "-G", "Ninja", f"-DPython_EXECUTABLE={sys.executable}"]
        # each build environment has nanobind and ninja elsewhere, so that a cached configuration cannot be trusted
        subprocess.run([*map(str, configure), "--fresh"], check=True)
        subprocess.run(["cmake", "--build", str(build)], check=True)
        name = f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
        target = root / "src" / "hal_host" / name
        # a new file, not new content: a running process keeps what it has mapped
        target.unlink(missing_ok=True)
        shutil.copy2(build / name, target)
        build_data["force_include"][str(target)] = f"hal_host/{name}"
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
