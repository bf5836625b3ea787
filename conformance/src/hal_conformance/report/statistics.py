"""Statistics of a run: core apart from extended, for each profile and as a whole, after the reports of Gateway API.

Core is what every backend has to do, with the facets that it offers; extended is what comes with a capability. A test
is extended where one of its clauses is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from hal.interface.capability import Capability
from hal_conformance.clauses import CORE, FACETS, Clause
from hal_conformance.results import FAILURES, STATES, NotRun, Result, Run, State
from hal_conformance.settings import PROFILES


def is_extended(clause: Clause) -> bool:
    """Whether a clause belongs to something optional."""
    return clause.feature not in (CORE, *FACETS)


@attrs.frozen
class Counted:
    """What statistics are made of: the tests and the clauses of one part of a run."""

    results: Sequence[Result]
    not_run: Sequence[NotRun]
    clauses: Sequence[Clause]


def statistics(run: Run, clauses: Mapping[str, Clause], states: Mapping[str, State]) -> dict[str, Any]:
    """Core and extended of the whole run."""
    return _both(run, Counted(run.results, run.not_run, list(clauses.values())), clauses, states)


def profiles(run: Run, clauses: Mapping[str, Clause], states: Mapping[str, State]) -> list[dict[str, Any]]:
    """For each profile its tests by outcome, and core and extended of its tests and of the clauses that they name."""
    found = []
    for name in sorted({one.profile for one in run.tests}, key=_place):
        results = [one for one in run.results if one.profile == name]
        left = [one for one in run.not_run if one.profile == name]
        named = {clause for one in run.tests if one.profile == name for clause in one.clauses}
        counted = Counted(results, left, [clause for clause in clauses.values() if clause.id in named])
        outcomes = Counter(one.outcome for one in results)
        found.append(
            {
                "name": name,
                "seconds": round(sum(one.seconds for one in results), 2),
                "outcomes": dict(sorted(outcomes.items())),
                **_both(run, counted, clauses, states),
            }
        )
    return found


def _place(profile: str) -> tuple[int, str]:
    """Profiles are listed in the order in which they run."""
    return (PROFILES.index(profile) if profile in PROFILES else len(PROFILES), profile)


def coverage(clauses: Mapping[str, Clause], states: Mapping[str, State]) -> dict[str, dict[str, int]]:
    """How many clauses of each level are in which state."""
    levels: dict[str, dict[str, int]] = {}
    for level in ("MUST", "SHOULD"):
        counts = Counter(states[one.id] for one in clauses.values() if one.level == level)
        levels[level] = {"total": counts.total(), **{state: counts[state] for state in STATES}}
    return levels


def _both(
    run: Run, counted: Counted, clauses: Mapping[str, Clause], states: Mapping[str, State]
) -> dict[str, dict[str, Any]]:
    extended = {one.id for one in clauses.values() if is_extended(one)}
    parts = {}
    for name, inside in (("core", False), ("extended", True)):
        part = Counted(
            [one for one in counted.results if bool(extended & set(one.clauses)) == inside],
            [one for one in counted.not_run if bool(extended & set(one.clauses)) == inside],
            [one for one in counted.clauses if (one.id in extended) == inside],
        )
        parts[name] = _section(part, states)
    declared = [one.value for one in Capability if one.value in run.subject.capabilities]
    parts["extended"]["supported"] = declared
    parts["extended"]["unsupported"] = [one.value for one in Capability if one.value not in declared]
    return parts


def _section(part: Counted, states: Mapping[str, State]) -> dict[str, Any]:
    failed = sum(one.outcome in FAILURES for one in part.results)
    passed = sum(one.outcome == "pass" for one in part.results)
    clauses = Counter(states[one.id] for one in part.clauses)
    return {
        "result": _result(part, failed, states),
        "tests": {
            "passed": passed,
            "failed": failed,
            "skipped": len(part.results) - passed - failed,
            "not run": len(part.not_run),
        },
        "clauses": {state: clauses[state] for state in STATES},
    }


def _result(part: Counted, failed: int, states: Mapping[str, State]) -> str:
    if failed:
        return "failure"
    if all(states[one.id] == "does not apply" for one in part.clauses):
        return "not supported" if part.clauses else "none"
    left = any(one.why != "quick" for one in part.not_run)
    return "partial" if left or _undecided(part.clauses, states) else "success"


def _undecided(clauses: Iterable[Clause], states: Mapping[str, State]) -> bool:
    return any(one.level == "MUST" and states[one.id] == "not run" for one in clauses)
