"""The document of a run: whole, with statistics that add up, and the same when it is read back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hal.interface.errors import UsageError
from hal_conformance.clauses import clauses
from hal_conformance.report import PAGE, RESULTS, write
from hal_conformance.report.document import document, written
from hal_conformance.report.environment import environment, suite_digest
from hal_conformance.report.reading import clauses_of, load, run_of
from hal_conformance.results import FAILURES

from .reports import run


def test_it_says_what_was_tested_with_what_and_how() -> None:
    made = document(run(), clauses())
    assert made["implementation"] == {
        "backend": "acme", "distribution": "hal-acme", "version": "1.0", "module": "hal_acme.plugin",
        "interface": "1.0", "facets": ["device"], "problems": [],
    }  # fmt: skip
    assert made["device"]["name"] == "an Acme 3"
    assert made["device"]["compute_units"] == 7
    assert made["capabilities"] == ["executor", "host_mapped"]
    assert made["settings"]["seed"] == 5
    assert made["settings"]["ranks"] == [2, 3]
    assert made["command"] == "hal conformance --backend acme --seed 5 --quick --ranks 2,3"
    assert made["started"] == "2030-01-02T03:04:05+00:00"
    assert made["verdict"] == "conformant"


def test_the_documentation_explains_every_part() -> None:
    text = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text("utf-8")
    table = text[text.index("| key | holds |") : text.index("Core is what every backend")]
    heads = [line.split("|")[1] for line in table.splitlines()[2:] if line]
    assert sorted(re.findall(r"`(\w+)`", " ".join(heads))) == sorted(document(run(), clauses()))


def test_the_environment_names_versions_and_not_the_machine() -> None:
    found = environment()
    assert {"hal-core", "hal-conformance", "numpy", "python", "os", "kernel", "machine"} <= set(found)
    assert all(found.values())


def test_each_clause_has_its_text_its_state_and_its_tests() -> None:
    made = document(run({"HAL-MEM-001": "fail"}), clauses())
    assert list(made["clauses"]) == list(clauses())
    clause = made["clauses"]["HAL-MEM-001"]
    assert (clause["level"], clause["feature"], clause["state"]) == ("MUST", "device", "fail")
    assert clause["text"] == clauses()["HAL-MEM-001"].text
    assert clause["tests"] == ["memory::test_mem-001[1]"]
    assert made["clauses"]["HAL-DSC-004"]["state"] == "not testable"
    assert made["clauses"]["HAL-DSC-004"]["why_not"]


def test_statistics_add_up_core_apart_from_extended() -> None:
    made = document(run({"HAL-MEM-001": "crash"}, left={"HAL-EXE-001": "not chosen"}), clauses())
    for part in (made["statistics"], *made["profiles"]):
        for section in ("core", "extended"):
            counted = part[section]["tests"]
            assert all(number >= 0 for number in counted.values())
    whole = made["statistics"]
    tests = sum(sum(whole[section]["tests"].values()) for section in ("core", "extended"))
    assert tests == len(made["results"]) + len(made["not_run"])
    assert whole["core"]["result"] == "failure"
    assert whole["core"]["tests"]["failed"] == 1
    assert whole["extended"]["result"] == "partial"
    assert whole["extended"]["supported"] == ["executor", "host_mapped"]
    assert "multicast" in whole["extended"]["unsupported"]
    assert sum(sum(whole[section]["clauses"].values()) for section in ("core", "extended")) == len(clauses())
    by_name = {one["name"]: one for one in made["profiles"]}
    assert by_name["memory"]["outcomes"]["crash"] == 1
    assert by_name["memory"]["core"]["result"] == "failure"
    assert made["undecided"] == ["HAL-EXE-001"]
    assert made["coverage"]["MUST"]["fail"] == 1
    assert made["coverage"]["MUST"]["total"] + made["coverage"]["SHOULD"]["total"] == len(clauses())


def test_a_failure_says_how_to_run_it_again() -> None:
    for one in document(run({"HAL-MEM-001": "timeout"}), clauses())["results"]:
        assert bool(one["rerun"]) == (one["outcome"] in FAILURES)


def test_what_is_read_back_is_what_was_written(tmp_path: Path) -> None:
    whole = run({"HAL-MEM-001": "fail"}, left={"HAL-MEM-002": "not reached"}, detail="\udcff <b> \u202e")
    write(whole, clauses(), tmp_path / "report")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {RESULTS, PAGE}
    read = load(tmp_path / "report")
    assert run_of(read) == whole
    assert clauses_of(read) == dict(clauses())
    assert document(run_of(read), clauses_of(read)) == read


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "no report of this kind"),
        ('{"schema": {"name": "hal-conformance", "version": 1}}', "version': 1"),
        ('{"schema": {"name": "hal-conformance", "version": 2}}', "lacks implementation"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        load(tmp_path / "x.json")
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("results", 0, "outcome"), "passed", r"results\[0\]: 'outcome' must be in"),
        (("results", 1, "seconds"), -1, r"results\[1\]: a number of seconds"),
        (("results", 0, "clauses"), "HAL-MEM-001", r"results\[0\]: texts are needed"),
        (("results", 0), 3, r"results\[0\]"),
        (("results",), {}, "results: a list"),
        (("settings", "ranks"), "2", "settings: '2' is no list"),
        (("settings", "seed"), True, "settings: True is no int"),
        (("implementation", "nmae"), "x", "implementation: .*nmae"),
        (("device", "name"), None, "implementation: 'device' must be"),
        (("suite", "digest"), 3, "suite: texts"),
        (("started",), "yesterday", "started: "),
        (("seconds",), "long", "seconds: 'long' is no float"),
        (("clauses", "HAL-MEM-001"), 7, "clauses.HAL-MEM-001"),
    ],
)
def test_a_part_that_is_malformed_is_named(path: tuple[str | int, ...], value: object, message: str) -> None:
    made = json.loads(written(document(run(), clauses())))
    place = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(UsageError, match=message):
        (run_of(made), clauses_of(made))


def test_the_digest_of_the_suite_is_of_this_version() -> None:
    assert suite_digest() == suite_digest()
    assert suite_digest().startswith("sha256:")
