"""Reports of a run: the document `results.json`, from which the page `report.html` is made, and how one is verified."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hal_conformance.clauses import Clause
from hal_conformance.report.document import document, written
from hal_conformance.report.page import page
from hal_conformance.results import Run

RESULTS = "results.json"
PAGE = "report.html"
JUNIT = "junit.xml"


def write(run: Run, clauses: Mapping[str, Clause], folder: Path) -> None:
    """Write the document and the page to `folder`, which is made where it is not there."""
    made = document(run, clauses)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).write_text(written(made), "utf-8")
    (folder / PAGE).write_text(page(made), "utf-8")
