"""The plug-in: what `hal.plugins` finds. Loads neither libibverbs nor pyverbs until it is asked to."""

from __future__ import annotations

from typing import Any

from hal.interface.capability import Capability
from hal.interface.transport import Transport
from hal.plugins import BackendInfo, Probe, hookimpl
from hal_ib.settings import IbSettings


@hookimpl
def hal_interface_version() -> str:
    """The interface this backend is written for."""
    return "1.0"


@hookimpl
def hal_describe() -> BackendInfo:
    """What this backend is."""
    return BackendInfo(
        "ib",
        "RDMA over InfiniBand or RoCE, through libibverbs",
        ("transport",),
        (Capability.GET, Capability.NATIVE_POSTING),
    )


@hookimpl
def hal_settings() -> type:
    """The class of the `ib` section."""
    return IbSettings


@hookimpl
def hal_probe() -> Probe:
    """Whether libibverbs, a device, an active port and a GID are there."""
    from hal_ib.probe import probe

    return probe()


@hookimpl
def hal_open_transport(settings: Any) -> Transport:
    """Open the port that the settings name, or the best one."""
    from hal_ib.choice import choose
    from hal_ib.ports import ports
    from hal_ib.transport import IbTransport

    return IbTransport(choose(ports(), settings), settings)
