"""The command line of `hal bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from hal.cli.state import state
from hal.interface.errors import UsageError
from hal_collectives.bench.formulas import MEASURED
from hal_collectives.bench.launching import DEFAULT_RANKS, bench
from hal_collectives.bench.settings import (
    ALL,
    Settings,
    read_average,
    read_collectives,
    read_dtypes,
    read_ops,
)
from hal_collectives.bench.sizes import parse_size

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_NAMES = ", ".join(one.label for one in MEASURED)


@app.command()
def _bench(
    ctx: typer.Context,
    collectives: Annotated[list[str], typer.Argument(metavar="COLLECTIVE", help=f"{_NAMES}; or {ALL}.")],
    min_bytes: Annotated[str, typer.Option("-b", "--minbytes", metavar="SIZE", help="The smallest size.")] = "8",
    max_bytes: Annotated[str, typer.Option("-e", "--maxbytes", metavar="SIZE", help="The largest size.")] = "128M",
    factor: Annotated[
        int | None, typer.Option("-f", "--stepfactor", show_default="2", help="Each size is the last one times this.")
    ] = None,
    step: Annotated[
        str | None, typer.Option("-i", "--stepbytes", metavar="SIZE", help="Each size is the last one plus this.")
    ] = None,
    iterations: Annotated[int, typer.Option("-n", "--iters", help="Calls that are timed together.")] = 20,
    warmup: Annotated[
        int, typer.Option("-w", "--warmup-iters", "--warmup_iters", help="Calls before, which are not timed.")
    ] = 5,
    rounds: Annotated[int, typer.Option(help="How often to time; the median is shown.")] = 3,
    dtype: Annotated[
        str, typer.Option("-d", "--datatype", metavar="TYPE", help=f"The element type, such as float; or {ALL}.")
    ] = "float32",
    op: Annotated[str, typer.Option("-o", "--op", metavar="OP", help=f"The reduction, such as sum; or {ALL}.")] = "sum",
    root: Annotated[int, typer.Option("-r", "--root", help="The root, or -1 for each rank in turn.")] = 0,
    average: Annotated[
        str, typer.Option("-a", "--average", metavar="HOW", help="The time of all ranks: rank0, avg, min or max.")
    ] = "max",
    mapped: Annotated[
        bool, typer.Option("--mapped/--plain", help="Buffers in registered memory, or in plain memory.")
    ] = True,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Check the results.")] = True,
    ranks: Annotated[
        int | None,
        typer.Option(
            "--ranks", help=f"Ranks to start here, unless this is a job's process.  [default: {DEFAULT_RANKS}]"
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("-T", "--timeout", metavar="SECONDS", help="The deadline of each call.")
    ] = None,
    json: Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON.")] = None,
    plot: Annotated[
        str | None, typer.Option("--plot", metavar="FILE", help="Write a picture: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Measure and check collectives, with nccl-tests' options and columns.

    Under `hal run`, torchrun, mpirun or srun it uses the job's ranks, otherwise it starts some on this machine.

    The exit status is 1 where a result is wrong.
    """
    if factor is not None and step is not None:
        raise UsageError("sizes grow by a factor (-f) or by an increment (-i): give one of them")
    config_path = state(ctx).config_path
    settings = Settings(
        collectives=read_collectives(collectives),
        min_bytes=parse_size(min_bytes, "-b"),
        max_bytes=parse_size(max_bytes, "-e"),
        factor=2 if factor is None and step is None else factor,
        step=None if step is None else parse_size(step, "-i"),
        iterations=iterations,
        warmup=warmup,
        rounds=rounds,
        dtypes=read_dtypes(dtype),
        ops=read_ops(op),
        root=root,
        average=read_average(average),
        mapped=mapped,
        validate=check,
        timeout=timeout,
        json=json,
        plot=plot,
        config=None if config_path is None else str(config_path),
    )
    raise typer.Exit(bench(settings, ranks))
