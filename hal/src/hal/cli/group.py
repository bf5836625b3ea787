"""The behaviour of `hal` as a whole: commands from other packages, and every HAL error as one clean line."""

from __future__ import annotations

import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from hal.cli.external import external_commands
from hal.cli.output import print_error
from hal.cli.state import state
from hal.interface.errors import HalError, UsageError, unknown_name
from hal.plugins.entry_points import PluginError

ERROR_STATUS = 2


class HalGroup(TyperGroup):
    """The `hal` command; its own commands take precedence over those that other packages add."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, sorted."""
        return sorted({*super().list_commands(ctx), *(one.name for one in external_commands(self.commands))})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, imported where another package adds it; None where there is none."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for one in external_commands(self.commands):
            if one.name == cmd_name:
                try:
                    return one.load()
                except PluginError:
                    return one.stand_in()
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` begins with; `UsageError` with the nearest name where there is none."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            raise UsageError(unknown_name("command", args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a HAL error becomes a line on stderr and exit status 2."""
        try:
            return super().invoke(ctx)
        except HalError as error:
            if state(ctx).debug:
                traceback.print_exc()
            print_error(str(error))
            raise typer.Exit(ERROR_STATUS) from None
