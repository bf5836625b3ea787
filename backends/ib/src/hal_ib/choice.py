"""Which device, port and GID: those of the settings, or the best there are."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from hal.interface.errors import BackendUnavailable, ConfigError, unknown_name
from hal_ib.ports import Gid, Port
from hal_ib.settings import IbSettings


@attrs.frozen
class Choice:
    """A port and the GID by which peers reach it."""

    port: Port
    gid: Gid

    def __str__(self) -> str:
        rate = f", {self.port.rate}" if self.port.rate else ""
        return f"{self.port.name}, {self.gid.kind}, {self.gid}{rate}"


def choose(ports: Sequence[Port], settings: IbSettings) -> Choice:
    """The port and GID to use.

    `ConfigError` where the settings name what is not there, `BackendUnavailable` where nothing can be used.
    """
    if not ports:
        raise BackendUnavailable("this machine has no RDMA device")
    named = _named(ports, settings)
    active = [port for port in named if port.active]
    if not active:
        states = ", ".join(f"{port.name} is {port.state or 'in no known state'}" for port in named)
        raise BackendUnavailable(f"no port is active: {states}")
    for port in sorted(active, key=lambda port: -port.speed):  # a stable sort: by name where the speed is the same
        gid = _gid(port, settings.gid_index)
        if gid is not None:
            return Choice(port, gid)
    raise BackendUnavailable(f"no usable GID on {', '.join(port.name for port in active)}")


def _named(ports: Sequence[Port], settings: IbSettings) -> list[Port]:
    devices = sorted({port.device for port in ports})
    if settings.device is not None and settings.device not in devices:
        raise ConfigError(f"ib.device: {unknown_name('RDMA device', settings.device, devices)}")
    of_device = [port for port in ports if settings.device in (None, port.device)]
    found = [port for port in of_device if settings.port in (None, port.number)]
    if not found:
        raise ConfigError(f"ib.port: there is no port {settings.port}: {', '.join(port.name for port in of_device)}")
    return found


def _gid(port: Port, index: int | None) -> Gid | None:
    if index is not None:
        found = next((gid for gid in port.gids if gid.index == index), None)
        if found is None:
            indices = ", ".join(str(gid.index) for gid in port.gids) or "none"
            raise ConfigError(f"ib.gid_index: {port.name} has no GID {index}: in use are {indices}")
        return found
    usable = [gid for gid in port.gids if gid.kind in ("InfiniBand", "RoCE v2")]
    return min(usable, key=_rank, default=None)


def _rank(gid: Gid) -> tuple[int, int]:
    """IPv4 first, then what is routed, then what reaches one link; RoCE v1, which is not routed, only where named."""
    if gid.kind == "InfiniBand":
        return 0, gid.index
    address = gid.address
    return (0 if address.ipv4_mapped else 2 if address.is_link_local else 1), gid.index
