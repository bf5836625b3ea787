"""The command line of `hal new-backend`."""

from __future__ import annotations

import enum
import shlex
from pathlib import Path
from typing import Annotated

import typer

from hal_conformance.new_backend.names import check_name
from hal_conformance.new_backend.writing import Choices, write

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class _Facet(enum.StrEnum):
    DEVICE = "device"
    TRANSPORT = "transport"


class _Executor(enum.StrEnum):
    OWN = "own"
    DEVICE_CODE = "device-code"


@app.command()
def _new_backend(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called in hal.yaml, such as acme.")],
    directory: Annotated[
        Path, typer.Option("--directory", metavar="DIR", help="Where to put the folder hal-NAME.")
    ] = Path(),
    facet: Annotated[
        list[_Facet] | None,
        typer.Option("--facet", help="What it offers; may be given twice.  [default: device]", show_default=False),
    ] = None,
    executor: Annotated[
        _Executor,
        typer.Option("--executor", help="How a device runs plans: by itself, or by HAL's device code, compiled."),
    ] = _Executor.OWN,
) -> None:
    """Write the package of a new backend, with a stub for every primitive; docs/vendor-guide.md leads through it."""
    facets = tuple(dict.fromkeys(one.value for one in facet or [_Facet.DEVICE]))
    choices = Choices(check_name(name), facets, executor.value)
    folder = write(choices, directory)
    shown = shlex.quote(str(folder) if folder.is_absolute() else f"./{folder}")
    typer.echo(f"{folder} is written. Next:")
    typer.echo(f"  pip install --editable {shown}")
    typer.echo(f"  hal conformance --backend {name} --quick")
