"""The kill matrix as a page of the documentation, and read back from there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from .runner import MUTANTS, Mutant, Verdict

PAGE = Path(__file__).parents[2] / "docs" / "conformance-mutants.md"
_BEGIN = "<!-- the matrix: python -m tests.mutants --write -->"
_ROW = re.compile(r"^\| `([\w-]+)` \| (HAL-[A-Z]{3}-\d{3}) \| (.+) \| (?:`(.+)`|lives) \| (yes|no) \|$", re.MULTILINE)


@attrs.frozen
class Row:
    """One line of the matrix."""

    name: str
    clause: str
    says: str
    test: str
    own: bool


def rows() -> list[Row]:
    """The matrix that the page has."""
    return [Row(*found[:4], found[4] == "yes") for found in _ROW.findall(PAGE.read_text("utf-8"))]


def of(mutant: Mutant, verdict: Verdict | None, before: dict[str, Row]) -> Row:
    """The line of a mutant: as it was found now, or as it stands."""
    if verdict is None and (known := before.get(mutant.name)) is not None:
        return attrs.evolve(known, clause=mutant.clause, says=mutant.says)
    test, own = (verdict.test, verdict.own) if verdict is not None else ("", False)
    return Row(mutant.name, mutant.clause, mutant.says, test, own)


def matrix(lines: Sequence[Row]) -> str:
    """The table, and what it comes to."""
    killed = sum(bool(line.test) for line in lines)
    own = sum(line.own for line in lines)
    clauses = len({line.clause for line in lines})
    head = f"{len(lines)} mutants of {clauses} clauses: {killed} killed, {own} by a test of their own clause."
    table = ["| mutant | clause | what is broken | killed by | a test of the clause |", "|---|---|---|---|---|"]
    for line in lines:
        test = f"`{line.test}`" if line.test else "lives"
        own_clause = "yes" if line.own else "no"
        table.append(f"| `{line.name}` | {line.clause} | {line.says} | {test} | {own_clause} |")
    return "\n".join([head, "", *table])


def write(verdicts: Iterable[Verdict]) -> None:
    """Put verdicts into the page; mutants that are not among them keep their line."""
    before = {row.name: row for row in rows()}
    found = {verdict.mutant.name: verdict for verdict in verdicts}
    lines = [of(mutant, found.get(mutant.name), before) for mutant in MUTANTS.values()]
    text = PAGE.read_text("utf-8")
    PAGE.write_text(text[: text.index(_BEGIN)] + f"{_BEGIN}\n{matrix(lines)}\n", "utf-8")
