"""What a run that has failed says at its end, and the order in which profiles run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs

from hal_conformance import SUITE
from hal_conformance.next_step import next_step, not_written
from hal_conformance.results import Result, Run, Subject
from hal_conformance.settings import PROFILES, Settings

SUBJECT = Subject("acme", "hal-acme", "1.0", ("device",), ("executor",), "an Acme", "hal_acme.plugin")
SETTINGS = Settings("acme", (2,), (), 5, True, None, None, (), 60.0)
PASSED = Result("memory::test_a[1]", "memory", ("HAL-MEM-001",), "pass", 0.1)


def failed(clause: str, detail: str, outcome: Any = "fail") -> Result:
    return Result("memory::test_b[1]", "memory", (clause,), outcome, 0.1, detail, rerun="hal conformance --test b")


def run(*results: Result) -> Run:
    return Run(SUBJECT, SETTINGS, results)


def test_nothing_is_next_where_nothing_has_failed() -> None:
    assert next_step(run(PASSED, attrs.evolve(PASSED, outcome="xfail"))) == []
    assert not_written(run(PASSED)) == []


def test_the_first_failure_is_next() -> None:
    unwritten = failed("HAL-MEM-015", "rank 0: not written yet: Device.copy")
    assert next_step(run(PASSED, failed("HAL-MEM-006", "seen 1"), unwritten)) == [
        "next: HAL-MEM-006 (MUST) Freeing twice raises `UsageError`.",
        "  docs/spec/memory.md",
        "  test it alone: hal conformance --test b",
    ]


def test_what_a_stub_says_is_quoted() -> None:
    said = "not written yet: Device.free; see HAL-MEM-006; docs/spec/memory.md"
    assert next_step(run(failed("HAL-MEM-006", f"rank 0: {said}\nrank 1: {said}")))[1:] == [
        f"  {said}",
        "  test it alone: hal conformance --test b",
    ]


def test_primitives_are_counted_by_the_tests_that_want_them() -> None:
    copy, free = (f"rank 0: not written yet: Device.{name}" for name in ("copy", "free"))
    some = [failed("HAL-MEM-015", copy), failed("HAL-MEM-006", free), failed("HAL-MEM-014", copy), PASSED]
    assert not_written(run(*some)) == [
        "not written yet:",
        "  Device.copy  fails 2 tests",
        "  Device.free  fails 1 test",
    ]
    known = failed("HAL-MEM-015", copy, "xfail")
    assert not_written(run(known)) == []


def test_profiles_run_in_the_order_of_the_guide() -> None:
    assert set(PROFILES) == {path.stem.removeprefix("test_").replace("_", "-") for path in SUITE.glob("test_*.py")}
    guide = (Path(__file__).parents[2] / "docs" / "vendor-guide.md").read_text("utf-8")
    executor = guide.partition("Profiles, in the order in which they run: ")[2].partition(".\n")[0]
    listed = ["discovery", "config", "memory", "streams", "kernels", *re.findall(r"`(.*?)`", executor)]
    assert list(PROFILES) == [*listed, "faults", "transport"]
