"""What this machine is, and what of HAL is measured."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).parents[2]


def describe() -> dict[str, Any]:
    """Date, processor, caches, memory, kernel, versions and HAL's commit."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "caches": _caches(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "hypervisor": "hypervisor" in Path("/proc/cpuinfo").read_text(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "commit": _commit(),
    }


def l2_bytes() -> int:
    """Bytes of a core's second-level cache; 1 MiB where the system does not say."""
    try:
        return os.sysconf("SC_LEVEL2_CACHE_SIZE") or 1 << 20
    except (ValueError, OSError):
        return 1 << 20


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _caches() -> dict[str, str]:
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found[f"L{level}"] = size
    return found


def _commit() -> str | None:
    """The commit, with «modified» where the tree differs from it; None outside a repository."""
    try:
        commands = (["git", "rev-parse", "--short", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no"])
        commit, changes = (
            subprocess.run(c, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
            for c in commands
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}, modified" if changes else commit
