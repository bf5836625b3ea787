"""The results of a run, as data: every outcome, and which clauses were tested."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from hal_conformance.answers import Outcome
from hal_conformance.clauses import CORE, FACETS, SWITCH, SWITCHES, Clause

FAILURES: frozenset[Outcome] = frozenset({"fail", "xpass", "timeout", "crash"})

Verdict = Literal["conformant", "partial", "failed"]


@attrs.frozen
class Subject:
    """What is tested, as it describes itself."""

    backend: str
    distribution: str
    version: str
    facets: tuple[str, ...]
    capabilities: tuple[str, ...]
    device: str
    module: str
    """The plug-in module."""

    def applies(self, feature: str) -> bool:
        """Whether a clause of this feature applies."""
        if feature == CORE:
            return True
        if feature == SWITCH:
            return any(one.value in self.capabilities for one in SWITCHES)
        return feature in self.facets if feature in FACETS else feature in self.capabilities


@attrs.frozen
class Result:
    """How one test ended. `detail` is the text of a failure, or the reason for not having run."""

    test: str
    profile: str
    clauses: tuple[str, ...]
    outcome: Outcome
    seconds: float
    detail: str = ""
    vacuous: bool = False
    """Whether it tests the refusal of something that the backend does declare, so that there is nothing to refuse."""


State = Literal["pass", "fail", "not run", "does not apply", "not testable"]


@attrs.frozen
class Run:
    """All results of one run."""

    subject: Subject
    seed: int
    quick: bool
    ranks: tuple[int, ...]
    results: tuple[Result, ...]

    def counts(self, profile: str | None = None) -> Counter[Outcome]:
        """How many tests ended in which way."""
        return Counter(one.outcome for one in self.results if profile in (None, one.profile))

    def clause_state(self, clause: Clause) -> State:
        """What the run says of a clause: it holds where one of its tests has passed and none has failed."""
        if not self.subject.applies(clause.feature):
            return "does not apply"
        if not clause.testable:
            return "not testable"
        tests = [one for one in self.results if clause.id in one.clauses]
        if tests and all(one.vacuous for one in tests):
            return "does not apply"
        outcomes = {one.outcome for one in tests}
        if outcomes & FAILURES:
            return "fail"
        return "pass" if "pass" in outcomes and not outcomes & {"xfail"} else "not run"

    def verdict(self, clauses: Mapping[str, Clause]) -> Verdict:
        """`failed` where a test has, `partial` where a MUST that applies was not decided, else `conformant`."""
        if any(one.outcome in FAILURES for one in self.results):
            return "failed"
        return "partial" if self.undecided(clauses.values()) else "conformant"

    def undecided(self, clauses: Iterable[Clause]) -> list[str]:
        """The ids of the mandatory clauses that apply and that no test has decided."""
        return [one.id for one in clauses if one.level == "MUST" and self.clause_state(one) == "not run"]

    def to_json(self, clauses: Mapping[str, Clause]) -> str:
        """The run as a JSON document."""
        document: dict[str, Any] = {
            "schema": {"name": "hal-conformance", "version": 1},
            **attrs.asdict(self, recurse=True),
            "verdict": self.verdict(clauses),
            "clauses": {one.id: self.clause_state(one) for one in clauses.values()},
        }
        return json.dumps(document, indent=1) + "\n"

    def write(self, path: Path, clauses: Mapping[str, Clause]) -> None:
        """Write `to_json` to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json(clauses), "utf-8")
