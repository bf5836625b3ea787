"""The command line of `hal tune`."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hal.bootstrap.launcher import run_ranks
from hal.cli.output import console
from hal.cli.state import state
from hal.interface.errors import UsageError, unknown_name
from hal.plan.collective import Collective
from hal_collectives.algorithms import algorithms
from hal_collectives.selection import default_table, table_in
from hal_collectives.tune.decide import decide
from hal_collectives.tune.measure import Timing
from hal_collectives.tune.write import as_yaml, gains

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

SIZES = tuple(4**power for power in range(1, 13))
QUICK_SIZES = (64, 4 << 10, 256 << 10)
MAX_RANKS = 64
_NAMES = [c.label for c in Collective if c is c.uniform and c is not Collective.BARRIER and algorithms(c)]


@app.command()
def _tune(
    ctx: typer.Context,
    collectives: Annotated[
        list[str] | None, typer.Argument(metavar="[COLLECTIVE]...", help=f"{', '.join(_NAMES)}; all by default.")
    ] = None,
    ranks: Annotated[str, typer.Option(help="Rank counts, comma-separated.", metavar="COUNTS")] = "2,4,8",
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.", dir_okay=False)] = Path(
        "selection.yaml"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Three sizes, few rounds: to try it.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for the ranks of one count.", min=1)] = 3600.0,
) -> None:
    """Measure every algorithm on this machine and write the selection table that follows.

    `selection_table: FILE` in hal.yaml puts it in force.
    """
    chosen = list(dict.fromkeys(collectives or _NAMES))
    for name in chosen:
        if name not in _NAMES:
            raise UsageError(unknown_name("collective", name, _NAMES))
    counts = _counts(ranks)
    if not output.parent.is_dir():
        raise UsageError(f"--output is {output}: there is no folder {output.parent}")
    settings = state(ctx).load()
    path = settings.selection_table
    table = default_table() if path is None else table_in(path)
    config = state(ctx).config_path
    timings: list[Timing] = []
    with tempfile.TemporaryDirectory(prefix="hal-tune-") as folder:
        for count in counts:
            times = Path(folder, f"{count}.json")
            # messages are between two ranks, however many there are
            names = [name for name in chosen if name != Collective.SEND_RECV.label or count == counts[0]]
            if not names:
                continue
            sizes = ",".join(map(str, QUICK_SIZES if quick else SIZES))
            program = ["hal_collectives.tune", str(times), "3" if quick else "9", sizes, ",".join(names)]
            status = run_ranks(
                [*program, "" if config is None else str(config)], count, module=True, prefix=False, timeout=timeout
            )
            if status:
                raise typer.Exit(status)
            timings += [Timing(**each) for each in json.loads(times.read_text())]
    found, gained = decide(timings, table)
    output.write_text(as_yaml(found, shlex.join(["hal", "tune", *sys.argv[2:]])))
    out = console()
    out.print(gains(gained, table.label), markup=False, highlight=False, soft_wrap=True)
    out.print(f"{output}: put it in force with `selection_table: {output}` in hal.yaml", markup=False, soft_wrap=True)


def _counts(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 2 <= int(part) <= MAX_RANKS for part in parts):
        raise UsageError(f"--ranks is {text!r}: comma-separated numbers from 2 to {MAX_RANKS} are allowed")
    return sorted({int(part) for part in parts})
