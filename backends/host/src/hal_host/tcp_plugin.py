"""The plug-in `tcp`: a transport over sockets, for ranks on several hosts without RDMA."""

from __future__ import annotations

from typing import Any

from hal.interface.capability import Capability
from hal.interface.errors import BackendUnavailable
from hal.interface.transport import Transport
from hal.plugins import BackendInfo, Probe, Problem, hookimpl
from hal_host.tcp_settings import TcpSettings


@hookimpl
def hal_interface_version() -> str:
    """The interface this transport is written for."""
    return "1.0"


@hookimpl
def hal_describe() -> BackendInfo:
    """What this transport is."""
    capabilities = (Capability.GET, Capability.ATOMIC_ADD, Capability.NATIVE_POSTING)
    return BackendInfo("tcp", "memory of other hosts over TCP sockets", ("transport",), capabilities)


@hookimpl
def hal_settings() -> type:
    """The class of the `tcp` section."""
    return TcpSettings


@hookimpl
def hal_probe() -> Probe:
    """Whether the native part loads; the network interfaces."""
    try:
        from hal_host import _native  # noqa: F401 -- whether it loads is what is asked
        from hal_host.addresses import interfaces
    except ImportError as error:
        remedy = "install hal-host again: pip install --force-reinstall hal-host"
        return Probe(False, problems=[Problem(f"the native part does not load: {error}", remedy)])
    return Probe(True, devices=[f"{name} ({address})" for name, address in interfaces().items()])


@hookimpl
def hal_open_transport(settings: Any) -> Transport:
    """Open the transport."""
    try:
        from hal_host.tcp import TcpTransport
    except ImportError as error:
        raise BackendUnavailable(f"the host backend's native part does not load: {error}") from error
    return TcpTransport(settings)
