"""The end of a run that has failed: what is not written yet, and what to mend next."""

from __future__ import annotations

import textwrap
from collections import Counter

from hal_conformance import unwritten
from hal_conformance.clauses import clauses
from hal_conformance.results import FAILURES, Run

_WIDTH = 110
_PAGES = {
    "DSC": "discovery",
    "CFG": "discovery",
    "CAP": "capabilities",
    "KRN": "capabilities",
    "MEM": "memory",
    "STR": "streams",
    "EVT": "streams",
    "SEM": "ordering",
    "ORD": "ordering",
    "MCH": "channels",
    "PCH": "channels",
    "SCH": "channels",
    "PKT": "channels",
    "EXE": "executor",
    "RED": "reductions",
    "COL": "collectives",
    "FLT": "faults",
    "TRN": "transport",
}


def page_of(clause: str) -> str:
    """The page of the specification that a clause is on, by its id."""
    return f"docs/spec/{_PAGES[clause.split('-')[1]]}.md"


def not_written(run: Run) -> list[str]:
    """A line for each primitive that tests have met unwritten, the first one met first."""
    met = (unwritten.name(one.detail) for one in run.results if one.outcome in FAILURES)
    found = Counter(name for name in met if name)
    if not found:
        return []
    width = max(map(len, found))
    shown = (f"  {name:{width}}  fails {number} test{'s' * (number > 1)}" for name, number in found.items())
    return ["not written yet:", *shown]


def next_step(run: Run) -> list[str]:
    """The clause to see to next, which is that of the first test that has failed: tests run in the order in which the
    vendor's guide goes. No lines where nothing has failed."""
    failed = next((one for one in run.results if one.outcome in FAILURES), None)
    if failed is None:
        return []
    clause = clauses()[failed.clauses[0]]
    head = f"next: {clause.id} ({clause.level}) {clause.text}"
    said = unwritten.sentence(failed.detail)
    return [
        *textwrap.wrap(head, _WIDTH, subsequent_indent="  "),
        *([f"  {said}"] if said else [f"  {page_of(clause.id)}"]),
        f"  test it alone: {failed.rerun}",
    ]
