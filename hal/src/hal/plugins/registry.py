"""The installed backends: which there are, which work, and why the others do not."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

import attrs

from hal.interface.errors import BackendUnavailable, UsageError, nearest, unknown_name
from hal.plugins.backend import Backend, BrokenBackend, admit
from hal.plugins.entry_points import Installed, list_group

GROUP = "hal.backends"


@attrs.frozen
class Registry:
    """The backends found by one `discover`, usable and broken, in the order of their names."""

    backends: tuple[Backend, ...]
    broken: tuple[BrokenBackend, ...]

    @property
    def names(self) -> list[str]:
        """The names of all installed backends, broken ones included, each once."""
        return sorted({one.name for one in self.backends} | {one.name for one in self.broken})

    def get(self, name: str) -> Backend:
        """The backend of that name, and never another one in its place.

        `BackendUnavailable` with the reason for one that is broken, `UsageError` for one that is not installed.
        """
        for backend in self.backends:
            if backend.name == name:
                return backend
        for one in self.broken:
            if one.name == name:
                raise BackendUnavailable(
                    f"backend {name!r} ({one.distribution} {one.version}) is installed but cannot be used: {one.reason}"
                )
        if not self.names:
            raise UsageError(f"unknown backend {name!r}: no backend is installed; try `pip install hal-{name}`")
        what = unknown_name("backend", name, self.names)
        # where the name is a slip of the pen, the package of that name would be a stranger's
        advice = "" if nearest(name, self.names) else f"; if it exists, `pip install hal-{name}` adds it"
        raise UsageError(what + advice)

    def sections(self) -> dict[str, type | None]:
        """Each backend's settings class by name, for `hal.config.load`; None for a broken one, which cannot say."""
        return {one.name: None for one in self.broken} | {one.name: one.settings for one in self.backends}


def installed(entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> list[Installed]:
    """The installed backends by name and distribution, from metadata alone: nothing is imported."""
    return list_group(GROUP, entry_points)


def discover(entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> Registry:
    """Import every backend's plug-in module, which imports no driver, and sort out those that cannot be used.

    A plug-in that breaks its contract, in whatever way, is kept as broken and does not disturb the others. A name that
    two distributions declare is broken for both: choosing one of them would be a guess. `entry_points` stands in for
    those of the installed distributions.
    """
    found = installed(entry_points)
    admitted: list[Backend | BrokenBackend] = []
    for one in found:
        others = [other.origin for other in found if other.name == one.name and other is not one]
        if others:
            reason = f"its name is taken by {', '.join(others)} as well: uninstall all but one"
            admitted.append(BrokenBackend(one.name, one.distribution, one.version, reason))
        else:
            admitted.append(admit(one))
    return Registry(
        tuple(one for one in admitted if isinstance(one, Backend)),
        tuple(one for one in admitted if isinstance(one, BrokenBackend)),
    )
