"""The plug-in. Each hook does what the chosen mutant has in the place of it."""

from __future__ import annotations

from typing import Any

from hal.interface.device import Device
from hal.interface.transport import Transport
from hal.plugins import BackendInfo, Probe, hookimpl
from hal_mutant import every  # noqa: F401 -- fills the catalogue
from hal_mutant.catalogue import part
from hal_mutant.parts import Hooks


@hookimpl
def hal_interface_version() -> str:
    return "1.0"


@hookimpl
def hal_describe() -> BackendInfo:
    return part(Hooks)().describe()


@hookimpl
def hal_settings() -> type:
    return part(Hooks)().settings()


@hookimpl
def hal_probe() -> Probe:
    return part(Hooks)().probe()


@hookimpl
def hal_open_device(settings: Any, index: int) -> Device:
    return part(Hooks)().open_device(settings, index)


@hookimpl
def hal_open_transport(settings: Any) -> Transport:
    return part(Hooks)().open_transport()
