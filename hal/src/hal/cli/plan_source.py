"""The plan that a command is given: a file, or an installed algorithm by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hal.interface.errors import UsageError, unknown_name
from hal.plugins.entry_points import list_group

if TYPE_CHECKING:
    from hal.plan import Plan
    from hal.plan.mscclpp import Imported

PROVIDERS = "hal.algorithms"
"""The entry-point group of algorithms: functions that return objects with the attributes `FACTS` names.

An algorithm may have more to tell: `supports(size)`, `build(size, root)` and `sizes(size)`, from which the figures
come; see `hal_collectives.algorithms.Algorithm`.
"""

HELP = "A plan as JSON; or COLLECTIVE:ALGORITHM of an installed one, with --ranks."

Ranks = Annotated[int | None, typer.Option("--ranks", metavar="N", min=1, help="The ranks of an installed algorithm.")]
Root = Annotated[
    int | None, typer.Option("--root", metavar="R", min=0, help="The root of an installed algorithm; else 0.")
]


def read_plan(name: str, ranks: int | None, root: int | None, *, validated: bool = True) -> Imported:
    """The plan in the file `name`, or that of an installed algorithm named `COLLECTIVE:ALGORITHM`.

    A file of that name comes first. `validated` is that of `hal.plan.read_file`. `UsageError` where an installed
    algorithm lacks its ranks or does not serve so many, and where a file is given any.
    """
    from hal.plan import read_file
    from hal.plan.mscclpp import Imported

    collective, colon, algorithm = name.partition(":")
    if not colon or Path(name).exists():
        for option, value in (("--ranks", ranks), ("--root", root)):
            if value is not None:
                raise UsageError(f"{option} is for installed algorithms: a plan file has its own ranks and root")
        return read_file(Path(name), validated=validated)
    if ranks is None:
        raise UsageError(f"{name} is an installed algorithm: say for how many ranks with --ranks")
    return Imported(_installed(collective, algorithm, ranks, root))


def print_warnings(name: str, warnings: Iterable[str]) -> None:
    """Print to stderr what the import of a foreign plan warns of."""
    for warning in warnings:
        typer.echo(f"{name}: warning: {warning}", err=True)


def _installed(collective: str, algorithm: str, ranks: int, root: int | None) -> Plan:
    from hal.plan.collective import Collective

    wanted = Collective.of(collective)
    found: dict[str, Any] = {
        one.name: one
        for provider in list_group(PROVIDERS)
        for one in provider.load()()
        if one.collective == wanted.label
    }
    if algorithm not in found:
        raise UsageError(unknown_name(f"algorithm of {wanted.label}", algorithm, found))
    if root is not None and not wanted.rooted:
        raise UsageError(f"--root is {root}, but {wanted.label} has no root")
    made: Plan = found[algorithm].build(ranks, (root or 0) if wanted.rooted else None)
    return made
