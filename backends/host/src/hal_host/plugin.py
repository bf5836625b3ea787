"""The plug-in: what `hal.plugins` finds. Imports nothing native until it is asked to."""

from __future__ import annotations

from typing import Any

from hal.interface.capability import Capability
from hal.interface.device import Device
from hal.interface.errors import BackendUnavailable, UsageError
from hal.plugins import BackendInfo, Probe, Problem, hookimpl
from hal_host.settings import HostSettings


@hookimpl
def hal_interface_version() -> str:
    """The interface this backend is written for."""
    return "1.0"


@hookimpl
def hal_describe() -> BackendInfo:
    """What this backend is."""
    summary = "CPUs of this machine over shared memory, with a native plan executor"
    capabilities = (
        Capability.EXECUTOR,
        Capability.HOST_MAPPED,
        Capability.SWITCH_EMULATION,
        Capability.REMOTE_MEMBERS,
    )
    return BackendInfo("host", summary, ("device",), capabilities)


@hookimpl
def hal_settings() -> type:
    """The class of the `host` section."""
    return HostSettings


@hookimpl
def hal_probe() -> Probe:
    """Whether shared memory can be made and the native part loads."""
    try:
        from hal_host import _native
        from hal_host.device import cpu_name
    except ImportError as error:
        remedy = "install hal-host again: pip install --force-reinstall hal-host"
        return Probe(False, problems=[Problem(f"the native part does not load: {error}", remedy)])
    try:
        _native.Arena(1 << 20)
    except OSError as error:
        remedy = "run on Linux with memfd_create allowed, and a limit on address space (ulimit -v) that leaves room"
        return Probe(False, problems=[Problem(f"no shared memory: {error.strerror}", remedy)])
    return Probe(True, devices=[f"{cpu_name()} ({_native.kernel_isa()})"])


@hookimpl
def hal_open_device(settings: Any, index: int) -> Device:
    """Open the one host device."""
    if index != 0:
        raise UsageError(f"the host backend has one device, 0; there is no device {index}")
    try:
        from hal_host.device import HostDevice
    except ImportError as error:
        raise BackendUnavailable(f"the host backend's native part does not load: {error}") from error
    return HostDevice(settings)
