"""The clauses: each normative sentence of the specification, with its id, its level and what it applies to."""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Mapping
from typing import Literal, get_args

import attrs
import yaml

from hal.interface.capability import Capability
from hal.interface.errors import UsageError, unknown_name

Level = Literal["MUST", "SHOULD"]

ID = re.compile(r"HAL-[A-Z]{3}-\d{3}")
CORE = "core"
FACETS = ("device", "transport")
SWITCH = "switch"
SWITCHES = (Capability.MULTICAST, Capability.SWITCH_EMULATION)
FEATURES = (CORE, *FACETS, SWITCH, *(capability.value for capability in Capability))
"""What a clause may apply to: every backend, those with one of the facets, those that declare a capability, or those
that run plans with switch channels, by whichever of two capabilities."""


@attrs.frozen
class Clause:
    """One normative sentence. `why_not` says why no test can decide it; it is empty where one does."""

    id: str
    level: Level
    feature: str
    text: str
    why_not: str = ""

    @property
    def testable(self) -> bool:
        """Whether a test decides it."""
        return not self.why_not

    @property
    def needs_a_test(self) -> bool:
        """Whether the suite is incomplete without a test that names it."""
        return self.testable and self.level == "MUST"


def parse(text: str) -> dict[str, Clause]:
    """The clauses of a document, by id; `UsageError` for one that is malformed."""
    loaded = yaml.safe_load(text)
    if not isinstance(loaded, dict) or not isinstance(loaded.get("clauses"), list):
        raise UsageError("a list `clauses` is needed")
    clauses: dict[str, Clause] = {}
    for number, entry in enumerate(loaded["clauses"], 1):
        clause = _clause(number, entry)
        if clause.id in clauses:
            raise UsageError(f"clause {clause.id} is there twice")
        clauses[clause.id] = clause
    return clauses


def _clause(number: int, entry: object) -> Clause:
    allowed = [field.name for field in attrs.fields(Clause)]
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise UsageError(f"clause number {number} is no mapping of texts")
    for key in entry:
        if key not in allowed:
            raise UsageError(f"clause number {number}: {unknown_name('key', key, allowed)}")
    missing = [name for name in allowed[:4] if not entry.get(name)]
    if missing:
        raise UsageError(f"clause number {number} ({entry.get('id', 'without id')}) lacks {', '.join(missing)}")
    clause = Clause(**entry)
    if not ID.fullmatch(clause.id):
        raise UsageError(f"clause number {number}: id {clause.id!r} is not of the form HAL-ABC-001")
    if clause.level not in get_args(Level):
        raise UsageError(f"{clause.id}: {unknown_name('level', clause.level, get_args(Level))}")
    if clause.feature not in FEATURES:
        raise UsageError(f"{clause.id}: {unknown_name('feature', clause.feature, FEATURES)}")
    return clause


@functools.cache
def clauses() -> Mapping[str, Clause]:
    """All clauses of this version of the suite, by id, in the order of the specification."""
    return parse(importlib.resources.files("hal_conformance").joinpath("clauses.yaml").read_text("utf-8"))
