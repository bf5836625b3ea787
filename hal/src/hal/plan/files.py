"""Plans in files, of HAL's own form or MSCCL++'s, told apart by their content."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from hal.interface.errors import PlanError
from hal.plan.codec import dumps, plan_of
from hal.plan.document import Problem, content, parsed
from hal.plan.model import Plan

if TYPE_CHECKING:
    from hal.plan.mscclpp import Imported, ImportOptions

_log = logging.getLogger("hal.plan")


def save(plan: Plan, path: str | Path) -> None:
    """Write the plan to a file, in HAL's own form."""
    Path(path).write_text(dumps(plan), encoding="utf-8")


def load(path: str | Path) -> Plan:
    """The plan in a file, which may be an MSCCL++ execution plan; `PlanError` naming the file where it holds none.

    What the import of a foreign plan warns of goes to the log (`read_file` returns it).
    """
    found = read_file(path)
    for warning in found.warnings:
        _log.warning("%s: %s", path, warning)
    return found.plan


def read_file(path: str | Path, options: ImportOptions | None = None, *, validated: bool = True) -> Imported:
    """The plan in a file; `PlanError` naming the file where it has none.

    `options` mean nothing to a plan of HAL's own form. Without `validated` the plan may be one that
    `hal.plan.validate` refuses, which is for the verifier to say.
    """
    from hal.plan.mscclpp import Imported, ImportOptions, schema, translated  # here, because few runs read a plan

    text = content(path)
    try:
        document = parsed(text)
        if schema.is_plan(document):
            return translated(document, options or ImportOptions(), Path(path).name, validated=validated)
        return Imported(plan_of(document, validated=validated))
    except Problem as problem:
        error = problem.error()
    except PlanError as refused:
        error = refused
    raise PlanError(f"{path}: {error.message}")
