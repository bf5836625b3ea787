"""The results of a run, as data: every outcome, and which clauses were tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import attrs
from attrs import validators

from hal_conformance.answers import Outcome
from hal_conformance.clauses import CORE, FACETS, SWITCH, SWITCHES, Clause
from hal_conformance.settings import Settings

FAILURES: frozenset[Outcome] = frozenset({"fail", "xpass", "timeout", "crash"})

Verdict = Literal["conformant", "partial", "failed"]
State = Literal["pass", "fail", "not run", "does not apply", "not testable"]
STATES: tuple[State, ...] = get_args(State)
Why = Literal["quick", "not chosen", "not reached"]
"""Why a test has no outcome: a quick run leaves it out, the options of this run do, or the run ended before it."""

_text = validators.instance_of(str)


def _texts(values: Any) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(one, str) for one in values):
        raise TypeError(f"texts are needed, not {values!r}")
    return tuple(values)


def _seconds(values: Any) -> float:
    if isinstance(values, bool) or not isinstance(values, int | float) or not 0 <= values < float("inf"):
        raise TypeError(f"a number of seconds is needed, not {values!r}")
    return float(values)


@attrs.frozen
class Subject:
    """What is tested, as it describes itself."""

    backend: str = attrs.field(validator=_text)
    distribution: str = attrs.field(validator=_text)
    version: str = attrs.field(validator=_text)
    facets: tuple[str, ...] = attrs.field(converter=_texts)
    capabilities: tuple[str, ...] = attrs.field(converter=_texts)
    device: str = attrs.field(validator=_text)
    module: str = attrs.field(validator=_text)
    """The plug-in module."""
    interface: str = attrs.field(default="", validator=_text)
    """The version of HAL's interface that it is written for."""
    properties: Mapping[str, Any] = attrs.field(factory=dict, validator=validators.instance_of(dict))
    """What the device says of itself, beside its name."""
    problems: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    """What makes it slower or less capable here."""

    def applies(self, feature: str) -> bool:
        """Whether a clause of this feature applies."""
        if feature == CORE:
            return True
        if feature == SWITCH:
            return any(one.value in self.capabilities for one in SWITCHES)
        return feature in self.facets if feature in FACETS else feature in self.capabilities


@attrs.frozen
class Result:
    """How one test ended. `detail` is what each rank has seen where it failed, or the reason for not having run."""

    test: str = attrs.field(validator=_text)
    profile: str = attrs.field(validator=_text)
    clauses: tuple[str, ...] = attrs.field(converter=_texts)
    outcome: Outcome = attrs.field(validator=validators.in_(get_args(Outcome)))
    seconds: float = attrs.field(converter=_seconds)
    detail: str = attrs.field(default="", validator=_text)
    vacuous: bool = attrs.field(default=False, validator=validators.instance_of(bool))
    """Whether it tests the refusal of something that the backend does declare, so that there is nothing to refuse."""
    rerun: str = attrs.field(default="", validator=_text)
    """The command that runs a test again that has failed."""

    @property
    def failed(self) -> bool:
        """Whether it makes the run fail."""
        return self.outcome in FAILURES


@attrs.frozen
class NotRun:
    """A test of the suite without an outcome."""

    test: str = attrs.field(validator=_text)
    profile: str = attrs.field(validator=_text)
    clauses: tuple[str, ...] = attrs.field(converter=_texts)
    why: Why = attrs.field(validator=validators.in_(get_args(Why)))


@attrs.frozen
class Run:
    """All results of one run. A test of the suite is in `results` or in `not_run`."""

    subject: Subject
    settings: Settings
    results: tuple[Result, ...]
    not_run: tuple[NotRun, ...] = ()
    started: str = ""
    """The date and time of the start, in UTC, as ISO 8601 has it."""
    seconds: float = 0.0
    environment: Mapping[str, str] = attrs.field(factory=dict)
    """Versions of what the run was made with and on."""
    suite: Mapping[str, str] = attrs.field(factory=dict)
    """The version and the digest of the suite."""

    @property
    def tests(self) -> list[Result | NotRun]:
        """All tests, those that ran first."""
        return [*self.results, *self.not_run]

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
        """`failed` where a test has; `partial` where a MUST that applies was not decided, or tests were left out by
        choice or not reached; else `conformant`.
        """
        if any(one.failed for one in self.results):
            return "failed"
        return "partial" if self.undecided(clauses.values()) or self.incomplete else "conformant"

    @property
    def incomplete(self) -> bool:
        """Whether tests have no outcome that a run of this kind has."""
        return any(one.why != "quick" for one in self.not_run)

    def undecided(self, clauses: Iterable[Clause]) -> list[str]:
        """The ids of the mandatory clauses that apply and that no test has decided."""
        return [one.id for one in clauses if one.level == "MUST" and self.clause_state(one) == "not run"]
