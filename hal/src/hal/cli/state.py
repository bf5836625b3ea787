"""What the global options say, handed to every command as `ctx.obj`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import attrs
import typer

from hal import config


@attrs.frozen
class State:
    """The global options: `config_path` from `--config` (None if not given) and `debug`."""

    config_path: Path | None = None
    debug: bool = False

    def load(self, overrides: Mapping[str, object] | None = None) -> config.Config:
        """The configuration of this command, with its log level put into force; errors are those of `config.load`."""
        loaded = config.load(self.config_path, overrides)
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("hal").setLevel(loaded.log_level.upper())
        return loaded


def state(ctx: typer.Context) -> State:
    """The global options of the command that runs in `ctx`; the defaults where it runs outside `hal`."""
    found = ctx.find_object(State)
    return found if found is not None else State()
