"""One backend plug-in: admitted after every check of its contract, or kept as broken with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import pluggy

from hal.config.schema import section_fault
from hal.config.settings import NoSettings
from hal.interface.errors import BackendUnavailable, HalError, NotSupported
from hal.plugins import hookspecs
from hal.plugins.description import BackendInfo, Facet, Probe, Problem
from hal.plugins.entry_points import Installed, PluginError, one_line
from hal.plugins.version import version_fault

if TYPE_CHECKING:
    from hal.interface.device import Device
    from hal.interface.transport import Transport

T = TypeVar("T")

_REQUIRED_HOOKS = ("hal_interface_version", "hal_describe", "hal_probe")
_FACET_HOOKS: dict[Facet, str] = {"device": "hal_open_device", "transport": "hal_open_transport"}


@attrs.frozen
class BrokenBackend:
    """A backend that is installed and cannot be used, and why."""

    name: str
    distribution: str
    version: str
    reason: str


@attrs.frozen
class Backend:
    """A backend whose plug-in keeps the contract; whether it works on this machine is what `probe` says."""

    info: BackendInfo
    distribution: str
    version: str
    interface_version: str
    settings: type
    _manager: pluggy.PluginManager = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """The plug-in name, as `backend:` in `hal.yaml` has it."""
        return self.info.name

    def probe(self) -> Probe:
        """What the backend finds on this machine. It never raises: a probe that does is a problem of the plug-in."""
        try:
            return _expect(Probe, "hal_probe", self._manager.hook.hal_probe())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the driver's binding may do anything, `sys.exit` included
            remedy = f"report it to the makers of {self.distribution} {self.version}"
            return Probe(available=False, problems=[Problem(f"its probe failed: {one_line(error)}", remedy)])

    def open_device(self, settings: Any = None, index: int = 0) -> Device:
        """The device at `index`; the caller closes it. `settings` None stands for the backend's defaults.

        `NotSupported` where the backend has no such facet, `BackendUnavailable` where it cannot be opened here.
        """
        self._need("device")
        hook = self._manager.hook.hal_open_device
        device: Device = self._open("device", lambda: hook(settings=self._settings(settings), index=index))
        return device

    def open_transport(self, settings: Any = None) -> Transport:
        """The transport; the caller closes it. Settings and errors are those of `open_device`."""
        self._need("transport")
        hook = self._manager.hook.hal_open_transport
        transport: Transport = self._open("transport", lambda: hook(settings=self._settings(settings)))
        return transport

    def _need(self, facet: Facet) -> None:
        if facet not in self.info.facets:
            raise NotSupported(f"backend {self.name!r} offers no {facet}: its facets are {', '.join(self.info.facets)}")

    def _settings(self, settings: Any) -> Any:
        return self.settings() if settings is None else settings

    def _open(self, facet: Facet, call: Callable[[], Any]) -> Any:
        try:
            opened = call()
        except HalError:
            raise
        except Exception as error:
            raise BackendUnavailable(f"backend {self.name!r} could not open its {facet}: {one_line(error)}") from error
        if opened is None:
            raise BackendUnavailable(f"backend {self.name!r} could not open its {facet}: its hook returned nothing")
        return opened


def admit(installed: Installed) -> Backend | BrokenBackend:
    """Import one plug-in and check its contract. Whatever it does wrong is the reason why it is broken."""
    try:
        return _check(installed)
    except PluginError as error:
        return BrokenBackend(installed.name, installed.distribution, installed.version, error.message)


def _check(installed: Installed) -> Backend:
    plugin = installed.load()
    # before its other hooks are looked at: those of another interface version may well have another shape
    interface_version = _call("hal_interface_version", getattr(plugin, "hal_interface_version", None))
    _refuse(version_fault(interface_version))

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin, installed.name)
        manager.check_pending()
    except Exception as error:
        raise PluginError(f"its hooks do not fit the interface: {one_line(error)}") from error
    _require(manager, _REQUIRED_HOOKS)

    info = _expect(BackendInfo, "hal_describe", _call("hal_describe", manager.hook.hal_describe))
    if info.name != installed.name:
        _refuse(f"it calls itself {info.name!r}, its entry point {installed.name!r}: the two have to be one name")
    _require(manager, [_FACET_HOOKS[facet] for facet in info.facets])
    settings = _call("hal_settings", manager.hook.hal_settings) or NoSettings
    _refuse(section_fault(installed.name, settings))
    return Backend(info, installed.distribution, installed.version, interface_version, settings, manager)


def _call(hook: str, function: Callable[[], Any] | None) -> Any:
    if function is None:
        raise PluginError(f"it has no hook {hook}")
    try:
        return function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"its hook {hook} raised {one_line(error)}") from error


def _require(manager: pluggy.PluginManager, hooks: tuple[str, ...] | list[str]) -> None:
    missing = [hook for hook in hooks if not getattr(manager.hook, hook).get_hookimpls()]
    if missing:
        raise PluginError(f"it has no hook {', '.join(missing)} (functions marked with hal.plugins.hookimpl)")


def _expect(expected: type[T], hook: str, result: Any) -> T:
    if not isinstance(result, expected):
        raise PluginError(f"its hook {hook} returned {result!r} in place of a {expected.__name__}")
    return result


def _refuse(reason: str | None) -> None:
    if reason is not None:
        raise PluginError(reason)
