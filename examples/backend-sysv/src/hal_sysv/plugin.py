"""The plug-in: what the backend is, what it finds on this machine, and how its device opens."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import attrs

from hal.config import kinds, setting
from hal.interface.capability import Capability
from hal.interface.errors import BackendUnavailable, UsageError
from hal.plugins import BackendInfo, Probe, Problem, hookimpl

CAPABILITIES = (Capability.EXECUTOR, Capability.COMPILE, Capability.HOST_MAPPED, Capability.SWITCH_EMULATION)


@attrs.frozen(kw_only=True)
class Settings:
    """The section `sysv` of `hal.yaml`."""

    memory: int = setting(
        "1G", kinds.size(1 << 20), "Memory that a device gives out; pages never touched cost nothing."
    )
    scratch_size: int = setting(
        "32M",
        kinds.size(2 << 16),
        "Scratch of each rank in a group, for two launches; pages never touched cost nothing.",
    )
    compile_timeout: float = setting("120s", kinds.duration(), "Deadline for compiling one kernel.")


def compiler() -> str | None:
    """The C++ compiler: what the environment variable CXX names, else `c++`; None where there is none."""
    return shutil.which(os.environ.get("CXX") or "c++")


def _problems() -> list[Problem]:
    problems = []
    if not sys.platform.startswith("linux"):
        # elsewhere nothing can be attached that is marked for removal
        problems.append(Problem(f"it works on Linux alone, and this is {sys.platform}", "use another backend"))
    elif not Path("/proc/sysvipc/shm").exists():
        problems.append(Problem("the kernel has no System V shared memory", "use a kernel with CONFIG_SYSVIPC"))
    if compiler() is None:
        named = os.environ.get("CXX") or "c++"
        problems.append(Problem(f"there is no C++ compiler: {named}", "install g++, or name another one with CXX"))
    return problems


@hookimpl
def hal_interface_version() -> str:
    """The version of HAL's interface that this is written for."""
    return "1.0"


@hookimpl
def hal_describe() -> BackendInfo:
    """Name, summary, facets."""
    return BackendInfo(
        "sysv", "CPUs of one machine, over System V shared memory (an example)", ["device"], CAPABILITIES
    )


@hookimpl
def hal_settings() -> type:
    """The class of the section `sysv`."""
    return Settings


@hookimpl
def hal_probe() -> Probe:
    """Whether this machine has System V shared memory and a compiler."""
    problems = _problems()
    return Probe(available=not problems, devices=[] if problems else ["the CPUs"], problems=problems)


@hookimpl
def hal_open_device(settings: Any, index: int) -> Any:
    """The CPUs are one device."""
    if index != 0:
        raise UsageError(f"there is no device {index}: the CPUs are one device, 0")
    for problem in _problems():
        raise BackendUnavailable(f"{problem.what}: {problem.remedy}")
    from hal_sysv.device import SysvDevice

    return SysvDevice(settings)
