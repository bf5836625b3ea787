"""The suite kills its mutants, and passes the backend that they are made from (docs/conformance-mutants.md)."""

from __future__ import annotations

import multiprocessing.forkserver
from collections.abc import Iterator

import pytest

from hal_conformance.clauses import clauses

from . import page
from .runner import MUTANTS, PRELOADED, ROOT, control, examine, suite

FIRST = ["gives-one", "signal-before-data", "no-nan"]
"""Of the everyday tests: one of a method, one of a program, one of results."""
WAITING = [mutant.name for mutant in MUTANTS.values() if mutant.slow]
SAMPLE = [name for name in sorted(MUTANTS)[::18] if name not in WAITING]
OTHERS = [name for name in MUTANTS if name not in SAMPLE]


@pytest.fixture(scope="module", autouse=True)
def processes() -> Iterator[None]:
    """The server from which the processes of mutants are forked: with all that they import, but no backend."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
        multiprocessing.forkserver.ensure_running()
        yield
    multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]  # else it lives as long as pytest


def test_the_catalogue_is_large_and_each_mutant_breaks_what_a_test_can_decide() -> None:
    assert len(MUTANTS) >= 60
    assert all(clauses()[mutant.clause].testable for mutant in MUTANTS.values())
    profiles = {mutant.clause[:7] for mutant in MUTANTS.values()}
    assert profiles == {clause[:7] for clause in clauses()}


def test_the_page_is_of_this_catalogue_and_nothing_lives() -> None:
    found = page.rows()
    assert [(row.name, row.clause, row.says) for row in found] == [
        (mutant.name, mutant.clause, mutant.says) for mutant in MUTANTS.values()
    ]
    assert page.matrix(found) in page.PAGE.read_text("utf-8")
    assert [row.name for row in found if not row.test] == []
    assert sum(row.own for row in found) >= 0.9 * len(found)


def check(name: str) -> None:
    """The test that the page names kills the mutant; by chance it may be another one of the same clause."""
    mutant = MUTANTS[name]
    (known,) = (row for row in page.rows() if row.name == name)
    if suite(name, f"--hal-ranks={mutant.ranks}", f"--hal-test={known.test}").failures:
        return
    verdict = examine(mutant, whole=not known.own)
    assert verdict.test, f"{mutant.says} ({mutant.clause})"


@pytest.mark.parametrize("name", FIRST)
def test_a_few_mutants_are_killed(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SAMPLE if name not in FIRST])
def test_a_mutant_is_killed(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_backend_as_it_is_passes_what_has_killed_its_mutants() -> None:
    killers = sorted({row.test for row in page.rows() if row.name in SAMPLE})
    told = control(killers)
    assert told.failures == ()
    assert told.passed + told.skipped == len(killers)
    assert told.skipped < 5  # of capabilities that it declares, and some mutants do not


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", OTHERS)
def test_all_other_mutants_are_killed(name: str) -> None:
    check(name)
