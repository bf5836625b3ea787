"""Commands that other packages add to `hal`: the entry-point group `hal.commands`.

An entry point's name is the command's name, its value a `typer.Typer` application or a function for one command. It is
imported when the command runs (or help lists it), so that `hal` starts quickly however many there are.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import attrs
import typer

from hal.plugins.entry_points import Installed, PluginError, list_group, one_line

GROUP = "hal.commands"


@attrs.frozen
class ExternalCommand:
    """A command that an installed package adds; `clash` says why its name cannot be used, None where it can."""

    installed: Installed
    clash: str | None

    @property
    def name(self) -> str:
        """The name on the command line."""
        return self.installed.name

    def load(self) -> Any:
        """The command as typer runs it; `PluginError` where it cannot be imported or is no command."""
        if self.clash is not None:
            raise self._error(self.clash)
        try:
            value = self.installed.load()
        except PluginError as error:
            raise self._error(error.message) from error
        if isinstance(value, typer.Typer):
            application = value
        elif callable(value):
            application = typer.Typer()
            application.command(self.name)(value)
        else:
            raise self._error(f"it is {value!r}, neither a typer.Typer nor a function")
        try:
            command = typer.main.get_command(application)
        except Exception as error:
            raise self._error(f"it is no usable command: {one_line(error)}") from error
        command.name = self.name
        return command

    def stand_in(self) -> Any:
        """A command in place of one that cannot be loaded: running it raises the reason."""
        application = typer.Typer()
        anything = {"ignore_unknown_options": True, "allow_extra_args": True}

        @application.command(self.name, context_settings=anything, help="Cannot be loaded: see `hal info`.")
        def refuse() -> None:
            self.load()

        return typer.main.get_command(application)

    def _error(self, reason: str) -> PluginError:
        return PluginError(f"command {self.name!r} ({self.installed.origin}) cannot be loaded: {reason}")


def external_commands(own: Container[str]) -> list[ExternalCommand]:
    """The commands that installed packages add, by name; nothing is imported. `own` are the names of `hal` itself."""
    found = list_group(GROUP)
    return [ExternalCommand(one, _clash(one, found, own)) for one in found]


def _clash(one: Installed, found: list[Installed], own: Container[str]) -> str | None:
    if one.name in own:
        return "hal has a command of this name itself"
    others = [other.origin for other in found if other.name == one.name and other is not one]
    return f"its name is taken by {', '.join(others)} as well: uninstall all but one" if others else None
