"""A run as a JSON document. What it says of clauses and verdict is derived from its results, so that it can be checked.

`PRIMARY` names what a run has found; `DERIVED` follows from it, and `digest` is that of the whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from hal_conformance.clauses import Clause
from hal_conformance.report.statistics import coverage, profiles, statistics
from hal_conformance.results import Run
from hal_conformance.settings import Settings

SCHEMA = {"name": "hal-conformance", "version": 2}
PRIMARY = (
    "schema", "implementation", "device", "capabilities", "environment", "suite", "settings", "command", "started",
    "seconds", "results", "not_run",
)  # fmt: skip
DERIVED = ("verdict", "undecided", "coverage", "statistics", "profiles", "clauses")


def document(run: Run, clauses: Mapping[str, Clause]) -> dict[str, Any]:
    """The run as data that JSON can hold, with its digest."""
    made = {"schema": SCHEMA, **derived(run, clauses), **_primary(run)}
    return {**made, "digest": digest(made)}


def _primary(run: Run) -> dict[str, Any]:
    subject = run.subject
    return {
        "implementation": {
            "backend": subject.backend,
            "distribution": subject.distribution,
            "version": subject.version,
            "module": subject.module,
            "interface": subject.interface,
            "facets": list(subject.facets),
            "problems": list(subject.problems),
        },
        "device": {"name": subject.device, **subject.properties},
        "capabilities": list(subject.capabilities),
        "environment": dict(run.environment),
        "suite": dict(run.suite),
        "settings": _settings(run.settings),
        "command": run.settings.command(),
        "started": run.started,
        "seconds": run.seconds,
        "results": [_plain(one) for one in run.results],
        "not_run": [_plain(one) for one in run.not_run],
    }


def _plain(one: Any) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in attrs.asdict(one).items()}


def _settings(settings: Settings) -> dict[str, Any]:
    """All but where the report goes."""
    found = {name: str(value) if isinstance(value, Path) else value for name, value in _plain(settings).items()}
    del found["report"]
    return found


def derived(run: Run, clauses: Mapping[str, Clause]) -> dict[str, Any]:
    """What follows from the results: the verdict first, then statistics, and each clause with its state and tests."""
    states = {one.id: run.clause_state(one) for one in clauses.values()}
    tests: dict[str, list[str]] = {name: [] for name in clauses}
    for one in run.tests:
        for name in one.clauses:
            tests.setdefault(name, []).append(one.test)
    made = {
        "verdict": run.verdict(clauses),
        "undecided": run.undecided(clauses.values()),
        "coverage": coverage(clauses, states),
        "statistics": statistics(run, clauses, states),
        "profiles": profiles(run, clauses, states),
    }
    made["clauses"] = {
        one.id: {**_clause(one), "state": states[one.id], "tests": tests[one.id]} for one in clauses.values()
    }
    return made


def _clause(clause: Clause) -> dict[str, str]:
    found: dict[str, str] = attrs.asdict(clause)
    del found["id"]
    if clause.testable:
        del found["why_not"]
    return found


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of the document's data without its digest: as JSON with sorted keys, no spaces, and ASCII alone.

    It tells whether a document is still what was written. It is no signature: who changes one can make a new digest.
    """
    bare = {key: value for key, value in content.items() if key != "digest"}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode('ascii')).hexdigest()}"


def written(content: Mapping[str, Any]) -> str:
    """The document as text, readable as it is."""
    return json.dumps(content, indent=1) + "\n"
