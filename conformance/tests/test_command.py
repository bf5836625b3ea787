"""`hal conformance` from outside, on a double that misbehaves: outcomes, texts, known failures, exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Conformance

SIZES = "memory::test_size_and_alignment*"
PROPERTIES = "memory::test_properties[1]"
NONE = "memory::test_no_bytes_are_refused[1-0]"


def test_a_good_run_is_partial_when_it_is_not_whole(conformance: Conformance, tmp_path: Path) -> None:
    done = conformance("--test", PROPERTIES, "--test", NONE)
    assert done.status == 0, done.text
    assert {one["outcome"] for one in done.results.values()} == {"pass"}
    assert set(done.results) == {PROPERTIES, NONE}
    assert "verdict: partial" in done.text
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"results.json", "report.html", "junit.xml"}
    assert "backend double (hal-double 1.5) on a double" in done.text
    assert done.document["clauses"]["HAL-MEM-009"]["state"] == "pass"
    assert done.document["clauses"]["HAL-SEM-001"]["state"] == "does not apply"


def test_a_failure_says_all_that_there_is_to_say(conformance: Conformance) -> None:
    done = conformance("--test", "memory::test_fill_fills_exactly[1-0]", "--seed", "7", fault="tail")
    assert done.status == 1
    for text in (
        "HAL-MEM-014 (MUST) `fill` sets the bytes named",
        "rank 0: 65 bytes filled at 0: 1 of 70000 elements differ, the first at 64",
        "seen:     238 (bytes ee)",
        "expected: 151 (bytes 97)",
        "run it again: hal conformance --backend double --seed 7 --quick --test 'memory::test_fill_fills_exactly[1-0]'",
        "verdict: failed",
    ):
        assert text in done.text


def test_a_run_of_one_clause_ends_at_its_first_failure(conformance: Conformance) -> None:
    done = conformance("--clause", "HAL-MEM-014", "--fail-fast", fault="tail")
    assert done.status == 1
    assert {clause for one in done.results.values() for clause in one["clauses"]} >= {"HAL-MEM-014"}
    assert all("HAL-MEM-014" in one["clauses"] for one in done.results.values())
    assert [one["outcome"] for one in done.results.values()].count("fail") == 1
    assert done.document["verdict"] == "failed"


def test_a_folder_for_temporary_files_whose_name_is_too_long_for_sockets(
    conformance: Conformance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    done = conformance("--test", PROPERTIES)
    assert done.status not in (0, 1)
    assert "by TMPDIR" in done.text
    assert "Traceback" not in done.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "outcome", "text"),
    [
        ("crash", "crash", "killed by signal 11"),
        ("exit", "crash", "exit status 3"),
        ("hang", "timeout", "in allocate"),
        ("stuck", "timeout", "no answer in time of rank 0"),
        ("raise", "fail", "an error that is none of HAL's"),
        pytest.param("interrupt", "fail", "SystemExit"),
    ],
)
def test_a_fault_costs_the_tests_that_meet_it(conformance: Conformance, fault: str, outcome: str, text: str) -> None:
    done = conformance("--test", f"{SIZES[:-1]}[1-1]", "--test", PROPERTIES, "--limit", "3", fault=fault)
    assert done.status == 1
    assert {name: one["outcome"] for name, one in done.results.items()} == {
        "memory::test_size_and_alignment[1-1]": outcome,
        PROPERTIES: "pass",
    }
    assert text in done.text
    assert "[2/2]" in done.text  # progress, test by test


KNOWN = """
failures:
- {{pattern: "memory::test_size_and_alignment[1-1]", kind: {kind}, reason: it is so, url: "https://tracker.example/1"}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "fault", "outcome", "status"),
    [
        ("xfail", "alignment", "xfail", 0),
        ("xfail", "", "xpass", 1),
        ("unsupported", "unsupported", "not_supported", 0),
        pytest.param("unsupported", "alignment", "fail", 1),
        pytest.param("unsupported", "", "xpass", 1),
    ],
)
def test_known_failures(
    conformance: Conformance, tmp_path: Path, kind: str, fault: str, outcome: str, status: int
) -> None:
    known = tmp_path / "known.yaml"
    known.write_text(KNOWN.format(kind=kind), "utf-8")
    done = conformance("--known-failures", str(known), "--test", "memory::test_size_and_alignment[1-1]", fault=fault)
    assert [one["outcome"] for one in done.results.values()] == [outcome], done.text
    assert done.status == status


@pytest.mark.slow
def test_known_failures_of_no_test_are_an_error(conformance: Conformance, tmp_path: Path) -> None:
    known = tmp_path / "known.yaml"
    known.write_text(KNOWN.format(kind="xfail").replace("test_size", "test_no_such_size"), "utf-8")
    done = conformance("--known-failures", str(known))
    assert done.status == 4
    assert "known failures of tests that do not exist:\n  memory::test_no_such_size_and_alignment[1-1]" in done.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "memroy"], "did you mean 'memory'"),
        (["--ranks", "2,x"], "ranks are '2,x'"),
        (["--test", "memory::nothing"], "no test of the suite"),
    ],
)
def test_options_that_cannot_be_used(conformance: Conformance, arguments: list[str], message: str) -> None:
    done = conformance(*arguments)
    assert done.status != 0
    assert message in done.text
    assert "Traceback" not in done.text


@pytest.mark.slow
def test_a_backend_that_is_not_there(conformance: Conformance) -> None:
    done = conformance(backend="doubel")
    assert done.status != 0
    assert "unknown backend 'doubel'" in done.text
    assert "Traceback" not in done.text


@pytest.mark.slow
def test_a_test_without_a_group_of_its_size_has_not_run(conformance: Conformance) -> None:
    done = conformance("--ranks", "2", "--test", "faults::test_the_survivors*", "--test", PROPERTIES, backend="host")
    outcomes = [one["outcome"] for name, one in done.results.items() if name != PROPERTIES]
    assert outcomes == ["resource"], done.text


@pytest.mark.exhaustive
@pytest.mark.parametrize("fault", ["", "little"])
def test_the_transport_of_the_double_does_what_is_specified(conformance: Conformance, fault: str) -> None:
    done = conformance("--profile", "transport", fault=fault)
    assert done.status == 0, done.text
    outcomes = [one["outcome"] for one in done.results.values()]
    assert set(outcomes) == {"pass", "not_supported"}
    assert outcomes.count("pass") >= 18
