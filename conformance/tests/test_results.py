"""What a run says of the clauses, and its verdict."""

from __future__ import annotations

from typing import Any

from hal_conformance.clauses import Clause
from hal_conformance.results import NotRun, Result, Run, Subject, Why
from hal_conformance.settings import Settings

MUST = Clause("HAL-ABC-001", "MUST", "core", "It must.")
SHOULD = Clause("HAL-ABC-002", "SHOULD", "device", "It should.")
OTHER = Clause("HAL-ABC-003", "MUST", "compile", "It must, if it compiles.")
OPEN = Clause("HAL-ABC-004", "MUST", "core", "It must.", "nobody can see it")
CLAUSES = {one.id: one for one in (MUST, SHOULD, OTHER, OPEN)}
SUBJECT = Subject("acme", "hal-acme", "1.0", ("device",), ("executor",), "an Acme", "hal_acme.plugin")


SETTINGS = Settings("acme", (2,), (), 0, True, None, None, (), 60.0)


def result(outcome: Any, *clauses: str, vacuous: bool = False) -> Result:
    return Result("memory::test_a[1]", "memory", clauses or (MUST.id,), outcome, 0.1, vacuous=vacuous)


def run(*results: Result, left: Why | None = None) -> Run:
    not_run = () if left is None else (NotRun("memory::test_b[1]", "memory", (MUST.id,), left),)
    return Run(SUBJECT, SETTINGS, results, not_run)


def test_a_clause_holds_where_a_test_of_it_has_passed() -> None:
    assert run(result("pass")).clause_state(MUST) == "pass"
    assert run(result("pass"), result("not_supported")).clause_state(MUST) == "pass"
    for outcome in ("fail", "crash", "timeout", "xpass"):
        assert run(result("pass"), result(outcome)).clause_state(MUST) == "fail"
    for outcome in ("not_supported", "resource", "xfail"):
        assert run(result(outcome)).clause_state(MUST) == "not run"
    assert run(result("pass"), result("xfail")).clause_state(MUST) == "not run"


def test_clauses_that_do_not_apply_or_cannot_be_tested() -> None:
    assert run().clause_state(OTHER) == "does not apply"
    assert run().clause_state(OPEN) == "not testable"
    assert run(result("not_supported", vacuous=True)).clause_state(MUST) == "does not apply"


def test_verdicts() -> None:
    assert run(result("pass")).verdict(CLAUSES) == "conformant"
    assert run(result("pass", SHOULD.id)).verdict(CLAUSES) == "partial"
    assert run(result("pass"), result("fail", SHOULD.id)).verdict(CLAUSES) == "failed"
    assert run(result("xfail")).verdict(CLAUSES) == "partial"
    assert run().undecided(CLAUSES.values()) == [MUST.id]


def test_a_run_that_left_tests_out_is_partial() -> None:
    assert run(result("pass"), left="quick").verdict(CLAUSES) == "conformant"
    assert run(result("pass"), left="not chosen").verdict(CLAUSES) == "partial"
    assert run(result("pass"), left="not reached").verdict(CLAUSES) == "partial"
    assert run(result("fail"), left="not reached").verdict(CLAUSES) == "failed"
