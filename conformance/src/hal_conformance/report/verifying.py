"""Whether a report is whole, agrees with itself, and is that of the suite installed here.

What a report says of clauses and verdict is derived again from its outcomes, and its tests are compared with those of
the installed suite. That no outcome was made up cannot be seen from it: to be sure of that, repeat the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from hal.interface.errors import UsageError
from hal_conformance.clauses import clauses
from hal_conformance.gathering import tests_of_suite
from hal_conformance.report.document import DERIVED, derived, digest
from hal_conformance.report.environment import suite
from hal_conformance.report.reading import clauses_of, run_of
from hal_conformance.results import NotRun, Run

_MOST = 5
"""Names that are listed where many are alike."""


def problems(document: Mapping[str, Any]) -> Iterator[str]:
    """One line for each thing that is wrong with a document that `reading.load` has read; none where nothing is."""
    if digest(document) != document["digest"]:
        yield f"integrity: the content has the digest {digest(document)}, the report says {document['digest']}"
    try:
        run = run_of(document)
        own = clauses_of(document)
    except UsageError as error:
        yield f"malformed: {error}"
        return
    yield from _outcomes(run)
    installed = suite()
    if run.suite == installed:
        yield from _differences("clauses", {name: own.get(name) for name in clauses()}, dict(clauses()), "the suite")
        if unknown := [name for name in own if name not in clauses()]:
            yield f"clauses: the suite has no {_few(unknown)}"
        yield from _tests(run)
    else:
        yield (
            f"suite: made with hal-conformance {run.suite.get('version')}, {run.suite.get('digest')}; installed is "
            f"{installed['version']}, {installed['digest']}: whether its tests and clauses are all there is not known"
        )
    if unknown := sorted({name for one in run.tests for name in one.clauses} - set(own)):
        yield f"clauses: tests name {_few(unknown)}, which the report does not list"
    again = derived(run, own)
    for part in DERIVED:
        yield from _differences(part, document[part], again[part], "its outcomes")


def _outcomes(run: Run) -> Iterator[str]:
    times = Counter(one.test for one in run.tests)
    if several := [test for test, number in times.items() if number > 1]:
        yield f"outcomes: there is more than one of {_few(several)}"
    if left := [one.test for one in run.not_run if one.why == "not reached"]:
        yield f"outcomes: the run ended before {_few(left)}"


def _tests(run: Run) -> Iterator[str]:
    """The tests of a report and those of the suite, run with the same settings."""
    try:
        expected = {one.test: one for one in tests_of_suite(run.settings)}
    except UsageError as error:
        yield f"settings: {error}"
        return
    found = {one.test: one for one in run.tests}
    if missing := [test for test in expected if test not in found]:
        yield f"outcomes: {_few(missing)} of the suite are missing"
    if unknown := [test for test in found if test not in expected]:
        yield f"outcomes: the suite has no {_few(unknown)}"
    both = [(found[test], expected[test]) for test in found if test in expected]
    facts = [one.test for one, told in both if (one.profile, one.clauses) != (told.profile, told.clauses)]
    if facts:
        yield f"outcomes: {_few(facts)} have another profile, or name other clauses, in the suite"
    reasons = [one.test for one, told in both if isinstance(one, NotRun) and one.why != told.why]
    if reasons:
        yield f"outcomes: {_few(reasons)} are not left out by the settings for the reason that is given"


def _differences(part: str, said: Any, wanted: Any, of: str) -> Iterator[str]:
    """A line for each leaf in which two documents differ."""
    if isinstance(said, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys((*wanted, *said)):
            yield from _differences(f"{part}.{key}", said.get(key), wanted.get(key), of)
    elif isinstance(said, list) and isinstance(wanted, list) and len(said) == len(wanted):
        for number, (one, other) in enumerate(zip(said, wanted, strict=True)):
            yield from _differences(f"{part}[{number}]", one, other, of)
    elif said != wanted:
        yield f"{part}: the report says {_short(said)}, {of} {_short(wanted)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
