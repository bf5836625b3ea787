"""Import of MSCCL++ execution plans (JSON of version 0.9 of that project), as its plan language means them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hal.interface.errors import PlanError
from hal.plan.document import Problem, content, parsed
from hal.plan.model import Plan
from hal.plan.mscclpp import schema
from hal.plan.mscclpp.contributions import Undecided, reduces, with_final_moves
from hal.plan.mscclpp.limits import warnings
from hal.plan.mscclpp.options import Imported, ImportOptions
from hal.plan.mscclpp.translation import translate
from hal.plan.validate import malformations, validate

__all__ = ["ImportOptions", "Imported", "import_mscclpp", "translated"]


def import_mscclpp(source: str | bytes | Path, options: ImportOptions | None = None) -> Imported:
    """The plan in an MSCCL++ execution plan: the path of a file, or its text, which begins with a bracket.

    `PlanError` names the place in the document (`gpus[1].threadblocks[0].ops[3].src_buff[0].index`) where it does not
    follow the format, refers to what does not exist or needs what HAL has not; or says what `hal.plan.validate` finds
    in the translated plan; of a file it names the file too. What is refused is found in time and memory in proportion
    to the document.
    """
    options = options or ImportOptions()
    if isinstance(source, bytes) or (isinstance(source, str) and _is_text(source)):
        return _imported(source, options, "plan")
    text = content(source)
    try:
        return _imported(text, options, Path(source).name)
    except PlanError as error:
        raise PlanError(f"{source}: {error.message}") from None


def _is_text(source: str) -> bool:
    beginning = source.lstrip("\ufeff \t\r\n")[:1]
    return beginning in ("", "{", "[")


def _imported(text: str | bytes, options: ImportOptions, label: str) -> Imported:
    try:
        return translated(parsed(text), options, label)
    except Problem as problem:
        raise problem.error() from None


def translated(raw: Any, options: ImportOptions, label: str, *, validated: bool = True) -> Imported:
    """The plan in a document that `hal.plan.document.parsed` has read; `Problem` or `PlanError` as `import_mscclpp`.

    `label` is what the instructions call the file. Without `validated` the plan may be one that is malformed.
    """
    if type(raw) is dict and "gpus" not in raw:
        raise Problem("no MSCCL++ execution plan, which has its ranks under 'gpus'")
    document: schema.Document = schema.read(raw)
    plan = translate(document, options, label)
    if validated:
        validate(plan)
    elif malformations(plan):
        return Imported(plan)
    plan, notes = _with_averages(plan)
    largest = document.max_message_size
    return Imported(
        plan,
        (*warnings(document, plan), *notes),
        document.min_message_size,
        None if largest == schema.LARGEST_SIZE else largest,
    )


def _with_averages(plan: Plan) -> tuple[Plan, tuple[str, ...]]:
    if not reduces(plan):
        return plan, ()
    try:
        return with_final_moves(plan), ()
    except Undecided as why:
        return plan, (f"op avg is not served, and gives the sum: {why}",)
