"""The plug-in: what `hal.plugins` finds. Imports no driver until it is asked to."""

from __future__ import annotations

from typing import Any

from hal.gpu.driver import CAPABILITIES
from hal.interface.device import Device
from hal.plugins import BackendInfo, Probe, hookimpl
from hal_rocm.settings import RocmSettings


@hookimpl
def hal_interface_version() -> str:
    """The interface this backend is written for."""
    return "1.0"


@hookimpl
def hal_describe() -> BackendInfo:
    """What this backend is."""
    return BackendInfo("rocm", "AMD GPUs, with the portable plan executor as a kernel", ("device",), CAPABILITIES)


@hookimpl
def hal_settings() -> type:
    """The class of the `rocm` section."""
    return RocmSettings


@hookimpl
def hal_probe() -> Probe:
    """Whether a binding, HIP and a device are there."""
    from hal_rocm.probe import probe

    return probe()


@hookimpl
def hal_open_device(settings: Any, index: int) -> Device:
    """Open one of the devices that HIP lists."""
    from hal.gpu.device import open_device
    from hal_rocm.driver import rocm

    return open_device(rocm(), settings, index)
