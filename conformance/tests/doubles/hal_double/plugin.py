"""The plug-in of the double."""

from __future__ import annotations

from typing import Any

from hal.interface.errors import UsageError
from hal.plugins import BackendInfo, Probe, hookimpl
from hal_double.device import DoubleDevice
from hal_double.transport import DoubleTransport


@hookimpl
def hal_interface_version() -> str:
    return "1.0"


@hookimpl
def hal_describe() -> BackendInfo:
    return BackendInfo("double", "what the suite's own tests test", ("device", "transport"))


@hookimpl
def hal_probe() -> Probe:
    return Probe(True, devices=["a double"])


@hookimpl
def hal_open_device(settings: Any, index: int) -> DoubleDevice:
    if index:
        raise UsageError(f"there is no device {index}")
    return DoubleDevice()


@hookimpl
def hal_open_transport(settings: Any) -> DoubleTransport:
    return DoubleTransport()
