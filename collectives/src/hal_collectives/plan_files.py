"""The user's own plan files, as algorithms: what `plan:` of a pinned rule in the configuration names."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from hal.config import Config
from hal.interface.dtypes import ReduceOp
from hal.interface.errors import ConfigError, PlanError, UsageError
from hal.plan import Move, Plan, digest, read_file
from hal.plan.collective import Collective
from hal.plan.lower import mapped_buffers, walk
from hal_collectives.algorithms import Algorithm

if TYPE_CHECKING:
    from hal.plan import Imported


@dataclass(frozen=True, eq=False)
class PlanFile(Algorithm):
    """A plan that was read from a file. It serves the ranks, the root and the sizes that it was made for."""

    found: Imported = field(kw_only=True)

    def fits(self, nbytes: int) -> bool:
        """Whether it is made for messages of so many bytes."""
        return self.found.serves(nbytes)

    def check_op(self, op: ReduceOp) -> None:
        """Raise `UsageError` where the plan reduces by something else than the call asks for."""
        instructions = (i for rank in self.found.plan.ranks for block in rank.blocks for i in walk(block))
        fixed = {i.op for i in instructions if isinstance(i, Move) and i.op is not None}
        if Collective.of(self.collective).reduces and fixed - {op}:
            named = ", ".join(sorted(each.label for each in fixed))
            raise UsageError(
                f"plan {self.name!r} reduces by {named}, whatever a call asks for, and this one asks {op.label}"
            )


def plan_file(collective: str, path: str) -> PlanFile:
    """The plan in a file, as an algorithm of `collective`; always the same object for a file that does not change.

    `PlanError` where it cannot be read, holds no valid plan, or one of another collective.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from None
    return _read(collective, path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _read(collective: str, path: str, changed: int, nbytes: int) -> PlanFile:
    found = read_file(path)
    plan = found.plan
    if plan.collective != collective:
        raise PlanError(f"{path}: is a plan for {plan.collective}, not for {collective}")

    def build(size: int, root: int | None = None) -> Plan:
        if root != plan.root:
            raise UsageError(f"plan {plan.name!r} has root {plan.root}, not {root}")
        return plan

    return PlanFile(
        collective=collective,
        # by the digest ranks see that they have the same plan, wherever the file lies
        name=f"{plan.name} ({digest(plan)[:16]})",
        description=plan.description,
        mapped=bool(mapped_buffers(plan)),
        variable=False,
        in_place=True,  # the group copies where a plan demands it
        ranks=f"{plan.size} ranks",
        claims=lambda size: size == plan.size,
        builder=build,
        found=found,
    )


def check_pins(settings: Config) -> None:
    """Read all plan files that are pinned; `ConfigError` naming setting, its place and file where one is no good."""
    for key in settings.settings():
        if key.group != "algorithms":
            continue
        for index, rule in enumerate(settings.get(key.dotted) or ()):
            if rule.plan is not None:
                try:
                    plan_file(key.name, rule.plan)
                except PlanError as error:
                    where = f"{settings.origin(key.dotted).text}: {key.dotted}[{index}].plan"
                    raise ConfigError(f"{where}: {error.message}") from None
