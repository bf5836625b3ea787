"""`hal run`: start the ranks of a program on this host."""

from __future__ import annotations

from typing import Annotated

import typer

from hal.bootstrap.launcher import MAX_RANKS, run_ranks


def _run(
    program: Annotated[
        list[str],
        typer.Argument(help="The program and its arguments; a .py file is run by this Python.", metavar="PROGRAM…"),
    ],
    ranks: Annotated[int, typer.Option("-n", "--ranks", help=f"How many ranks to start, 1 to {MAX_RANKS}.")],
    module: Annotated[bool, typer.Option("-m", "--module", help="PROGRAM is a Python module's name.")] = False,
    timeout: Annotated[
        float | None, typer.Option(help="End the ranks after this many seconds, with status 124.", metavar="SECONDS")
    ] = None,
    grace: Annotated[
        float, typer.Option(help="Time between SIGTERM and SIGKILL when ranks are ended.", metavar="SECONDS")
    ] = 5.0,
    keep_going: Annotated[
        bool, typer.Option("-k", "--keep-going", help="When a rank fails, let the others go on (Communicator.shrink).")
    ] = False,
    prefix: Annotated[
        bool, typer.Option("--prefix/--no-prefix", help="Mark each line of output with its rank.")
    ] = True,
) -> None:
    """Start N ranks of PROGRAM on this host and end them all when one fails, unless told to keep going.

    The exit status is that of the rank that failed first. Put `--` before a program whose name begins with a dash.
    """
    status = run_ranks(
        program, ranks, module=module, timeout=timeout, grace=grace, prefix=prefix, keep_going=keep_going
    )
    raise typer.Exit(status)


def register(app: typer.Typer) -> None:
    """Add `run` to the command."""
    # what follows the program's name is the program's, options included
    app.command("run", context_settings={"allow_interspersed_args": False})(_run)
