"""Runs that never were, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from hal_conformance.clauses import clauses
from hal_conformance.results import NotRun, Result, Run, Subject, Why
from hal_conformance.settings import Settings

SUBJECT = Subject(
    backend="acme",
    distribution="hal-acme",
    version="1.0",
    facets=("device",),
    capabilities=("executor", "host_mapped"),
    device="an Acme 3",
    module="hal_acme.plugin",
    interface="1.0",
    properties={"devices": ["an Acme 3"], "memory": 1 << 34, "compute_units": 7, "details": {"clock": "1 GHz"}},
)
SETTINGS = Settings("acme", (2, 3), (), 5, True, None, None, (), 60.0)
RERUN = "hal conformance --backend acme --seed 5 --quick --test 'memory::test_it[1]'"


def test_name(clause: str) -> str:
    """A test that decides one clause."""
    return f"{'memory' if '-MEM-' in clause else 'executor'}::test_{clause[4:].lower()}[1]"


test_name.__test__ = False  # type: ignore[attr-defined]  # its name begins like a test's


def run(outcomes: dict[str, Any] | None = None, *, left: dict[str, Why] | None = None, detail: str = "it is so") -> Run:
    """A run in which every clause that applies has a test, which passes unless `outcomes` or `left` says otherwise."""
    results, not_run = [], []
    for one in clauses().values():
        if not one.testable:
            continue
        name, named = test_name(one.id), (one.id,)
        profile = name.partition("::")[0]
        if left is not None and one.id in left:
            not_run.append(NotRun(name, profile, named, left[one.id]))
            continue
        outcome = (outcomes or {}).get(one.id, "pass" if SUBJECT.applies(one.feature) else "not_supported")
        failed = outcome in ("fail", "crash", "timeout", "xpass")
        results.append(
            Result(name, profile, named, outcome, 0.25, "" if outcome == "pass" else detail, False, RERUN * failed)
        )
    environment = {"hal-core": "1.2", "python": "CPython 3.11"}
    suite = {"version": "1.2", "digest": "sha256:00"}
    return Run(SUBJECT, SETTINGS, tuple(results), tuple(not_run), "2030-01-02T03:04:05+00:00", 61.0, environment, suite)
