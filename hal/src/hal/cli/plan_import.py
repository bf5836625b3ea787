"""`hal plan import`: a plan of MSCCL++ in HAL's own form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hal.cli.output import console
from hal.cli.plan import plans


def register() -> None:
    """Add the command to `hal plan`."""
    plans.command("import")(import_plan)


def import_plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An MSCCL++ execution plan, as JSON.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT.json", help="Write it here, not to stdout.")
    ] = None,
    swap_get_offsets: Annotated[
        bool, typer.Option("--swap-get-offsets", help="Let `get` swap its offsets, as the executor of MSCCL++ does.")
    ] = False,
    ignore_flush: Annotated[
        bool, typer.Option("--ignore-flush", help="Let `flush` do nothing, as the executor of MSCCL++ does.")
    ] = False,
    always_sum: Annotated[
        bool, typer.Option("--always-sum", help="Let every reduction be the sum, as the executor of MSCCL++ does.")
    ] = False,
) -> None:
    """Translate an MSCCL++ execution plan. What its executor would not run as written is warned of on stderr."""
    from hal.plan import ImportOptions, dumps, import_mscclpp  # here, because they bring numpy

    options = ImportOptions(swap_get_offsets=swap_get_offsets, ignore_flush=ignore_flush, always_sum=always_sum)
    found = import_mscclpp(file, options)
    for warning in found.warnings:
        console(stderr=True).print(f"warning: {warning}", style="yellow", soft_wrap=True)
    if found.min_message_size or found.max_message_size is not None:
        largest = "any size" if found.max_message_size is None else f"{found.max_message_size} bytes"
        sizes = f"{found.min_message_size} bytes to {largest}"
        console(stderr=True).print(f"note: the file is for {sizes}, which HAL's form does not hold", soft_wrap=True)
    text = dumps(found.plan)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
