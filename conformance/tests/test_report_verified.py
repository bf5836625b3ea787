"""`hal conformance verify-report`: whatever is changed in a report, it says what is wrong."""

from __future__ import annotations

import copy
import json
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hal_conformance.clauses import clauses
from hal_conformance.report import verifying
from hal_conformance.report.document import digest, document, written
from hal_conformance.report.environment import suite
from hal_conformance.results import NotRun, Why

from .conftest import Conformance
from .reports import run, test_name

Document = dict[str, Any]
EVERYTHING = [
    NotRun(one.test, one.profile, one.clauses, "not reached") for one in run().tests
]  # what the suite would have, were it that of the invented runs


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "suite", lambda: {"version": "1.2", "digest": "sha256:00"})
    monkeypatch.setattr(verifying, "tests_of_suite", lambda settings: EVERYTHING)


def made(outcomes: dict[str, Any] | None = None, left: dict[str, Why] | None = None) -> Document:
    whole: Document = json.loads(written(document(run(outcomes, left=left), clauses())))
    return whole


def problems(report: Document, *, mend: bool = True) -> list[str]:
    """The problems of a report; a forger makes a new digest."""
    if mend:
        report["digest"] = digest(report)
    return list(verifying.problems(report))


@pytest.mark.parametrize("outcome", ["pass", "fail", "xfail", "resource", "crash"])
def test_a_report_as_it_was_written_has_no_problem(outcome: str) -> None:
    assert problems(made({"HAL-MEM-001": outcome}), mend=False) == []


def test_a_change_of_anything_is_a_change_of_the_digest() -> None:
    report = made()
    report["started"] = "2031-01-01T00:00:00+00:00"
    (line,) = problems(report, mend=False)
    assert line.startswith("integrity: the content has the digest sha256:")


def _better_verdict(report: Document) -> None:
    report["verdict"] = "conformant"


def _passed(report: Document) -> None:
    next(one for one in report["results"] if one["outcome"] == "fail")["outcome"] = "pass"


def _without_the_failure(report: Document) -> None:
    report["results"] = [one for one in report["results"] if one["outcome"] != "fail"]


def _twice(report: Document) -> None:
    report["results"].append(copy.deepcopy(report["results"][0]))


def _other_clause(report: Document) -> None:
    report["results"][0]["clauses"] = ["HAL-MEM-003"]


def _unknown_clause(report: Document) -> None:
    report["results"][0]["clauses"] = ["HAL-XYZ-001"]


def _unknown_test(report: Document) -> None:
    report["results"].append({**report["results"][0], "test": "memory::test_of_mine[1]"})


def _without_a_clause(report: Document) -> None:
    del report["clauses"]["HAL-MEM-001"]


def _other_text(report: Document) -> None:
    report["clauses"]["HAL-MEM-001"]["text"] = "Nothing is asked for."


def _weaker(report: Document) -> None:
    report["clauses"]["HAL-MEM-001"]["level"] = "SHOULD"


def _count(report: Document) -> None:
    report["statistics"]["core"]["tests"]["passed"] += 1


def _decided(report: Document) -> None:
    report["undecided"] = ["HAL-MEM-001"]


def _malformed(report: Document) -> None:
    report["results"][3]["outcome"] = "fine"


def _other_suite(report: Document) -> None:
    report["suite"]["digest"] = "sha256:11"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_better_verdict, "verdict: the report says 'conformant', its outcomes 'failed'"),
        (_passed, "verdict: the report says 'failed', its outcomes 'conformant'"),
        (_passed, "clauses.HAL-MEM-001.state: the report says 'fail', its outcomes 'pass'"),
        (_without_the_failure, f"outcomes: {test_name('HAL-MEM-001')} of the suite are missing"),
        (_twice, "outcomes: there is more than one of"),
        (_other_clause, "have another profile, or name other clauses, in the suite"),
        (_unknown_clause, "clauses: tests name HAL-XYZ-001, which the report does not list"),
        (_unknown_test, "outcomes: the suite has no memory::test_of_mine[1]"),
        (_without_a_clause, "clauses.HAL-MEM-001: the report says nothing, the suite"),
        (_other_text, "clauses.HAL-MEM-001: the report says"),
        (_weaker, "clauses.HAL-MEM-001: the report says"),
        (_count, "statistics.core.tests.passed: the report says"),
        (_decided, "undecided: the report says ['HAL-MEM-001'], its outcomes []"),
        (_malformed, "malformed: results[3]: 'outcome' must be in"),
        (_other_suite, "suite: made with hal-conformance 1.2, sha256:11; installed is 1.2, sha256:00"),
    ],
)
def test_what_is_forged_is_found(change: Callable[[Document], None], line: str) -> None:
    report = made({"HAL-MEM-001": "fail"})
    change(report)
    found = problems(report)
    assert [one for one in found if line in one], found
    assert all("\n" not in one for one in found)


def test_a_run_that_was_cut_short_is_no_whole_report() -> None:
    (line,) = problems(made(left={"HAL-MEM-001": "not reached"}))
    assert line == f"outcomes: the run ended before {test_name('HAL-MEM-001')}"


def test_a_test_is_left_out_only_for_the_reason_that_the_settings_give() -> None:
    (line,) = problems(made(left={"HAL-MEM-001": "quick"}))
    assert line == f"outcomes: {test_name('HAL-MEM-001')} are not left out by the settings for the reason that is given"


def verify(path: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sysconfig.get_path("scripts")) / "hal", "conformance", "verify-report", path]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_the_command_on_a_real_report(conformance: Conformance, tmp_path: Path) -> None:
    done = conformance("--test", "memory::test_properties[1]", "--profile", "memory")
    assert done.document["suite"] == suite()
    assert len(done.document["results"]) == 1
    assert len(done.document["not_run"]) > 500
    report = tmp_path / "report" / "results.json"
    checked = verify(report)
    assert (checked.returncode, checked.stdout) == (0, f"{report}: in order (double: partial, 1 outcomes)\n")
    report.write_text(report.read_text("utf-8").replace('"verdict": "partial"', '"verdict": "conformant"', 1), "utf-8")
    checked = verify(report.parent)
    assert checked.returncode == 1
    assert [line.partition(":")[0] for line in checked.stdout.splitlines()] == [
        "integrity",
        "verdict",
        str(report.parent),
    ]
    checked = verify(tmp_path / "none.json")
    assert checked.returncode == 2
    assert "cannot be read" in checked.stderr
