"""The plug-in: what `hal.plugins` finds. Imports no driver until it is asked to."""

from __future__ import annotations

from typing import Any

from hal.gpu.driver import CAPABILITIES
from hal.interface.device import Device
from hal.plugins import BackendInfo, Probe, hookimpl
from hal_cuda.settings import CudaSettings


@hookimpl
def hal_interface_version() -> str:
    """The interface this backend is written for."""
    return "1.0"


@hookimpl
def hal_describe() -> BackendInfo:
    """What this backend is."""
    return BackendInfo("cuda", "NVIDIA GPUs, with the portable plan executor as a kernel", ("device",), CAPABILITIES)


@hookimpl
def hal_settings() -> type:
    """The class of the `cuda` section."""
    return CudaSettings


@hookimpl
def hal_probe() -> Probe:
    """Whether CuPy, a driver and a device are there."""
    from hal_cuda.probe import probe

    return probe()


@hookimpl
def hal_open_device(settings: Any, index: int) -> Device:
    """Open one of the devices that CUDA lists."""
    from hal.gpu.device import open_device
    from hal_cuda.driver import cuda

    return open_device(cuda(), settings, index)
