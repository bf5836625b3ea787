"""What is missing on this machine, and what to do about it."""

from __future__ import annotations

import os
from pathlib import Path

from hal.interface.errors import HalError
from hal.plugins import Probe, Problem
from hal_rocm import binding
from hal_rocm.binding import BindingError, HipError
from hal_rocm.driver import LEAST_VERSION, TARGETS, RocmDriver


def probe(nodes: Path = Path("/dev")) -> Probe:
    """Look for a binding, HIP's library, device nodes that may be opened, and a device of a known architecture."""
    try:
        bound = binding.load()
    except BindingError as error:
        return _unavailable(str(error), error.remedy)
    try:
        return _devices(RocmDriver(bound), bound.name, nodes)
    except (HalError, HipError) as error:
        return _unavailable(f"HIP fails: {error}", "see whether rocminfo works, and what dmesg says of amdgpu")


def _devices(driver: RocmDriver, name: str, nodes: Path) -> Probe:
    count = driver.count()
    if not count:
        return _no_device(nodes)
    version = int(driver.version.split()[-1])
    if version < LEAST_VERSION:
        return _unavailable(f"HIP {version // 10**7}.{version // 10**5 % 100} is too old", "install ROCm 6.0 or newer")
    devices, problems = [], []
    for index in range(count):
        device, _, architecture = driver.describe(index)
        devices.append(f"{device} ({architecture}, through {name})")
        if not architecture.startswith(TARGETS):
            problems.append(
                Problem(
                    f"device {index}, {device}, is a {architecture}, which is not supported: {', '.join(TARGETS)} are",
                    "hide it: HIP_VISIBLE_DEVICES",
                )
            )
    return Probe(len(problems) < count, devices=devices, problems=problems)


def _no_device(nodes: Path) -> Probe:
    """HIP says that there is none: is there none, or may it not be opened?"""
    kfd = nodes / "kfd"
    if not kfd.exists():
        return _unavailable(
            f"there is no device: {kfd} is not there, so that the kernel has no driver for AMD GPUs loaded",
            "install the amdgpu driver; in a container, start it with --device /dev/kfd --device /dev/dri",
        )
    closed = [node for node in (kfd, *(nodes / "dri").glob("renderD*")) if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        return _unavailable(
            f"no permission on {', '.join(map(str, closed))}",
            "sudo usermod -a -G render,video $USER, then log in anew; in a container, --group-add render",
        )
    return _unavailable(
        "there is no device, though the kernel's driver is there",
        "see what rocminfo lists, and whether HIP_VISIBLE_DEVICES or ROCR_VISIBLE_DEVICES hides all devices",
    )


def _unavailable(what: str, remedy: str) -> Probe:
    return Probe(False, problems=[Problem(what, remedy)])
