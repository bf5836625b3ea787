"""The stand-in for AMD's HIP: building it, the bindings that drive it, the environment of processes that use it.

Nothing of it is in an installed package. What it needs is fetched into the user's cache: HIP's headers and clang as
Debian packages, the two bindings from PyPI, each in a folder of its own since their names clash. `Unavailable` where
something cannot be had; tests then skip.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .. import debian
from ..debian import Unavailable

SOURCES = Path(__file__).parent / "src"
BINDINGS = {
    "hip-python": ("hip-python==10.0.0.0.1.2", "rocm-bindings-hip==10.0.0.0.1.2", "rocm-bindings-core==10.0.0.0.1.2"),
    "hip-python-7": ("hip-python==7.2.2.562.43",),
    "pyhip": ("pyhip-interface==0.1.2",),
}
"""What each binding consists of."""
INSTALLING = 300.0
"""Seconds that fetching a binding may take."""


def headers() -> Path:
    """The folder of HIP's headers."""
    return debian.unpacked("hip-headers", ["libamdhip64-dev"], dependencies=False).root / "usr" / "include"


@dataclass(frozen=True)
class Clang:
    """Clang with its back end for AMD GPUs, and LLVM's tools."""

    folder: Path
    environment: dict[str, str]

    def tool(self, name: str) -> str:
        """The path of one of LLVM's programs."""
        return str(self.folder / name)


def clang() -> Clang:
    """The newest clang that this machine's Debian has."""
    tree = debian.unpacked("amd-clang", ["clang-22", "lld-22", "llvm-22"])
    return Clang(tree.root / "usr" / "lib" / "llvm-22" / "bin", tree.environment())


def real_runtime() -> debian.Tree:
    """Debian's build of AMD's own HIP runtime and hiprtc, version 5.2."""
    return debian.unpacked("hip-runtime", ["libamdhip64-5", "libhiprtc-builtins5"])


def binding(name: str) -> Path:
    """The folder to put on PYTHONPATH for a binding, fetched now where it is not there yet."""
    wanted = BINDINGS[name]
    digest = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:12]
    folder = debian.cache().parent / "python" / f"{name}-{digest}"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever holds it is done within INSTALLING
        if not folder.is_dir():
            making = folder.with_suffix(".part")
            shutil.rmtree(making, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(making), *wanted]
            try:
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALLING)
            except subprocess.CalledProcessError as error:
                raise Unavailable(f"{name} cannot be fetched: {error.stderr.strip().splitlines()[-1]}") from None
            except subprocess.TimeoutExpired:
                raise Unavailable(f"{name} has not been fetched within {INSTALLING:.0f} s") from None
            making.rename(folder)
    return folder


def library(cache: Path) -> Path:
    """A folder like ROCm's, with the stand-in in its lib/, compiled once for the same sources."""
    compiler = shutil.which(os.environ.get("CXX") or "g++")
    if compiler is None:
        raise Unavailable("there is no C++ compiler")
    files = sorted([*SOURCES.rglob("*.cpp"), *SOURCES.rglob("*.h")])
    digest = hashlib.sha256("\0".join([compiler, *(file.read_text() for file in files)]).encode()).hexdigest()[:12]
    root = cache / f"rocm-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            for old in cache.glob("rocm-*"):
                shutil.rmtree(old, ignore_errors=True)
            _build(compiler, [file for file in files if file.suffix == ".cpp"], cache / "part")
            (cache / "part").rename(root)
    return root


def _build(compiler: str, sources: list[Path], root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    lib = root / "lib"
    lib.mkdir(parents=True)
    flags = ["-std=c++17", "-g1", "-O2", "-fPIC", "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra", "-Werror"]
    common = [compiler, *flags, f"-isystem{headers()}"]
    objects = [root / f"{number}.o" for number in range(len(sources))]
    waiting = list(zip(sources, objects, strict=True))
    while waiting:  # two at a time
        pair, waiting = waiting[:2], waiting[2:]
        steps = [subprocess.Popen([*common, "-c", str(s), "-o", str(o)], stderr=subprocess.PIPE) for s, o in pair]
        errors = [step.communicate(timeout=300)[1].decode() for step in steps]
        assert not any(step.returncode for step in steps), "\n".join(errors)
    made = lib / "libamdhip64.so"
    subprocess.run([*common, "-shared", *map(str, objects), "-ldl", "-o", str(made)], check=True, timeout=300)
    (lib / "libhiprtc.so").symlink_to(made.name)
    for each in objects:
        each.unlink()


def environment(cache: Path, name: str = "hip-python", **settings: str) -> dict[str, str]:
    """The environment of a process that finds a binding, and the stand-in for its library.

    `settings` become HIP_STANDIN_ variables: DEVICES, ARCH, FAULTS, NO_PEERS, LEVEL, MODE. With MODE="instructions"
    hiprtc compiles by clang for the GPU that ARCH names, and its machine code is interpreted; else kernels are compiled
    from their source for this machine.
    """
    rocm = library(cache)
    kernels = cache / "kernels"
    if settings.get("MODE") == "instructions":
        tools = clang()
        settings |= {"LLVM": str(tools.folder), "LLVM_LIBRARIES": tools.environment["LD_LIBRARY_PATH"]}
        kernels = cache / "kernels-instructions"  # for the same architecture, but not the same code
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("HAL_", "HIP_"))},
        "ROCM_PATH": str(rocm),
        "LD_LIBRARY_PATH": str(rocm / "lib"),
        "PYTHONPATH": str(binding(name)),
        "HIP_STANDIN_SOURCES": str(SOURCES),
        "XDG_CACHE_HOME": str(kernels),
        **{f"HIP_STANDIN_{key}": value for key, value in settings.items()},
    }
