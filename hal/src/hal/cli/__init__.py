"""The `hal` command."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Annotated

import typer

from hal.cli import doctor, info, plan, plan_draw, plan_import, plan_simulate, plan_verify, run
from hal.cli.group import HalGroup
from hal.cli.state import State

app = typer.Typer(
    name="hal",
    cls=HalGroup,
    help="One communication layer for every accelerator.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they print local variables, a job's secret among them
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hal-core {importlib.metadata.version('hal-core')}")
        raise typer.Exit


@app.callback()
def _global_options(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="PATH", help="The configuration file, in place of hal.yaml.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    ctx.obj = State(config_path=config, debug=debug)


info.register(app)
doctor.register(app)
run.register(app)
plan.register(app)
plan_draw.register()
plan_import.register()
plan_simulate.register()
plan_verify.register()


def main() -> None:
    """The console script `hal`."""
    app()
