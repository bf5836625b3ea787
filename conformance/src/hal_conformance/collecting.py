"""What the suite's tests say of themselves: their ids, profiles, clauses, and the ranks that they run on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from hal_conformance import SUITE, known
from hal_conformance.clauses import clauses
from hal_conformance.results import NotRun, Why
from hal_conformance.settings import DEFAULT_LIMIT, Settings

FORMS = ("processes", "threads")
MOST_THREADS = 4


def is_ours(item: pytest.Item) -> bool:
    """Whether a test is one of the suite."""
    return SUITE in item.path.parents


def profile_of(item: pytest.Item) -> str:
    """The profile of a test: its module."""
    return item.path.stem.removeprefix("test_").replace("_", "-")


def test_id(item: pytest.Item) -> str:
    """The name of a test for people and files: `memory::test_alignment[1]`."""
    return f"{profile_of(item)}::{item.name}"


test_id.__test__ = False  # type: ignore[attr-defined]  # its name begins like a test's


def clause_ids(item: pytest.Item) -> list[str]:
    """The clauses that a test names."""
    return [one for mark in item.iter_markers("clause") for one in mark.args]


def limit_of(item: pytest.Item, settings: Settings) -> float:
    """Seconds that a test may take; those that say how long are given more or less in proportion."""
    mark = item.get_closest_marker("limit")
    return settings.limit if mark is None else settings.limit * float(mark.args[0]) / DEFAULT_LIMIT


def without_outcome(item: pytest.Item, settings: Settings) -> NotRun:
    """A test that has not run yet, and the reason for which this run would leave it out, or end before it."""
    return NotRun(test_id(item), profile_of(item), tuple(clause_ids(item)), _why(item, settings))


def _why(item: pytest.Item, settings: Settings) -> Why:
    if settings.quick and item.get_closest_marker("full"):
        return "quick"
    chosen = (
        (not settings.profiles or profile_of(item) in settings.profiles)
        and (not settings.clauses or not set(clause_ids(item)).isdisjoint(settings.clauses))
        and (not settings.tests or any(known.matches(pattern, test_id(item)) for pattern in settings.tests))
    )
    return "not reached" if chosen else "not chosen"


def check_clauses(items: Iterable[pytest.Item], *, complete: bool) -> None:
    """`pytest.UsageError` for a test without a clause or with an unknown one, and for a clause that lacks its test.

    The last only where `complete` says that these are all tests.
    """
    named: set[str] = set()
    for item in items:
        ids = clause_ids(item)
        if not ids:
            raise pytest.UsageError(f"{item.nodeid} names no clause")
        for one in ids:
            if one not in clauses():
                raise pytest.UsageError(f"{item.nodeid} names the unknown clause {one!r}")
        named.update(ids)
    missing = [one.id for one in clauses().values() if one.needs_a_test and one.id not in named]
    if complete and missing:
        raise pytest.UsageError(f"testable MUST clauses without a test: {', '.join(missing)}")


def _as_threads(size: int, settings: Settings) -> bool:
    """Whether groups of this size run as threads too: larger ones only where their size was asked for."""
    return size > 1 and (size <= MOST_THREADS or settings.ranks_given)


def rank_parameters(item: pytest.Item, settings: Settings) -> list[Any]:
    """The sizes and forms that a test runs on, each as (size, threads) with an id."""
    mark = item.get_closest_marker("ranks")
    which = mark.args[0] if mark is not None else "one"
    given = mark.kwargs if mark is not None else {}
    forms = given.get("forms", FORMS)
    match which:
        case "one":
            return [pytest.param((1, False), id="1")]
        case "pair":
            sizes: tuple[int, ...] = (2,)
        case "group":
            least = given.get("least", 1)
            sizes = tuple(size for size in settings.ranks if size >= least)
            if not sizes and not settings.ranks_given:
                sizes = (least,)
        case _:
            raise pytest.UsageError(f"{item.nodeid}: ranks are one, pair or group, not {which!r}")
    worlds = [(size, form) for size in sizes for form in forms if form == FORMS[0] or _as_threads(size, settings)]
    return [
        pytest.param((size, form == "threads"), id=f"{size}-{form}" if size > 1 else str(size)) for size, form in worlds
    ]
