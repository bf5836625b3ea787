"""The hooks of a backend plug-in.

A backend's distribution declares an entry point in the group `hal.backends`: its name is the backend's name, its value
a module in which functions marked with `hookimpl` implement these hooks. That module is imported to list backends, so
it must not import a driver or anything that needs the hardware; such imports belong inside the hooks that probe and
open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

from hal.plugins.description import BackendInfo, Probe

if TYPE_CHECKING:
    from hal.interface.device import Device
    from hal.interface.transport import Transport

PROJECT = "hal"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def hal_interface_version() -> str:  # type: ignore[empty-body]  # a specification
    """The version of the interface that the backend is written for, as text: "1.0". Required."""


@hookspec(firstresult=True)
def hal_describe() -> BackendInfo:  # type: ignore[empty-body]  # a specification
    """Name, summary and facets. Required; touches no driver."""


@hookspec(firstresult=True)
def hal_settings() -> type | None:
    """The attrs class of the backend's section in `hal.yaml`, its fields made with `hal.config.setting`.

    Every field has a default. Optional; None, or no such hook, for a backend without settings.
    """


@hookspec(firstresult=True)
def hal_probe() -> Probe:  # type: ignore[empty-body]  # a specification
    """Whether the backend works on this machine, and why not. Required.

    May load the driver. It does not raise: what is missing is a `Problem` with its remedy.
    """


@hookspec(firstresult=True)
def hal_open_device(settings: Any, index: int) -> Device:  # type: ignore[empty-body]  # a specification
    """Open the device at `index`, counted from 0, and give it to the caller, who closes it.

    Required with the facet "device". `settings` is an instance of the class that `hal_settings` returned. Raises
    `BackendUnavailable` where the driver or the hardware is missing, `UsageError` for an index that does not exist.
    """


@hookspec(firstresult=True)
def hal_open_transport(settings: Any) -> Transport:  # type: ignore[empty-body]  # a specification
    """Open the transport and give it to the caller, who closes it.

    Required with the facet "transport". `settings` is an instance of the class that `hal_settings` returned. Raises
    `BackendUnavailable` where the driver or the hardware is missing.
    """
