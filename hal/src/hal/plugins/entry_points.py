"""Installed plug-ins as their distributions' metadata tell them, and the importing of one, whatever it does."""

from __future__ import annotations

import importlib.metadata
import traceback
from collections.abc import Iterable
from typing import Any

import attrs

from hal.interface.errors import HalError

UNKNOWN = "unknown"


@attrs.frozen
class Installed:
    """An entry point: its name, and the distribution (`unknown` where there is none) and version that declare it."""

    name: str
    distribution: str
    version: str
    entry_point: importlib.metadata.EntryPoint = attrs.field(repr=False)

    @property
    def origin(self) -> str:
        """The distribution and its version, as messages name them."""
        return f"{self.distribution} {self.version}"

    def load(self) -> Any:
        """Import the object; `PluginError` with the reason where that fails in any way."""
        try:
            return self.entry_point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an import may run anything, `sys.exit` included
            raise PluginError(f"importing {self.entry_point.value!r} raised {one_line(error)}") from error


class PluginError(HalError):
    """Why a plug-in cannot be used. Discovery keeps it with the plug-in; it does not reach callers of `discover`."""


def list_group(group: str, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> list[Installed]:
    """The plug-ins of an entry-point group in the order of their names; nothing is imported.

    `entry_points` stands in for those of the installed distributions.
    """
    found = importlib.metadata.entry_points(group=group) if entry_points is None else entry_points
    return sorted((_installed(one) for one in found), key=lambda one: (one.name, one.distribution))


def one_line(error: BaseException) -> str:
    """An exception's type and message on one line, also where making its message fails."""
    return " ".join("".join(traceback.format_exception_only(error)[-1:]).split())


def _installed(entry_point: importlib.metadata.EntryPoint) -> Installed:
    distribution = entry_point.dist
    name = distribution.name if distribution is not None else None
    version = distribution.version if distribution is not None else None
    return Installed(entry_point.name, name or UNKNOWN, version or UNKNOWN, entry_point)
