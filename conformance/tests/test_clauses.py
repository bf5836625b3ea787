"""The clauses as data: well formed, many, and word for word what the specification says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hal.interface.errors import UsageError
from hal_conformance.clauses import Clause, clauses, parse

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "spec").glob("*.md"))
SENTENCE = re.compile(r"^- \*\*(HAL-[A-Z]{3}-\d{3})\*\* \((MUST|SHOULD), (\w+)\) (.*(?:\n  .*)*)", re.MULTILINE)
VENDOR = re.compile(r"(?i)\b(nvidia|cuda|amd|rocm|hip|mellanox|infiniband)\b")


def written() -> dict[str, tuple[str, str, str]]:
    found = {}
    for page in PAGES:
        for name, level, feature, text in SENTENCE.findall(page.read_text("utf-8")):
            assert name not in found, f"{name} is there twice"
            found[name] = (level, feature, " ".join(text.split()))
    return found


def test_the_specification_and_the_file_say_the_same() -> None:
    assert written() == {one.id: (one.level, one.feature, one.text) for one in clauses().values()}


def test_every_id_in_the_specification_begins_a_sentence() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        mentioned = set(re.findall(r"\*\*(HAL-\w{3}-\d{3})\*\*", text))
        assert mentioned == {name for name, *_ in SENTENCE.findall(text)}, page


def test_there_are_many_and_most_are_tested() -> None:
    assert len(clauses()) >= 120
    assert sum(one.testable for one in clauses().values()) > 0.9 * len(clauses())


def test_no_vendor_is_named() -> None:
    assert not [one.id for one in clauses().values() if VENDOR.search(one.text)]


GOOD = "clauses:\n- {id: HAL-ABC-001, level: MUST, feature: core, text: It is.}\n"


def test_a_clause_is_read() -> None:
    assert parse(GOOD) == {"HAL-ABC-001": Clause("HAL-ABC-001", "MUST", "core", "It is.")}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clauses:", "clause:", "a list `clauses`"),
        ("HAL-ABC-001", "HAL-abc-1", "is not of the form HAL-ABC-001"),
        ("MUST", "MAY", "unknown level 'MAY'"),
        ("feature: core", "feature: executer", "did you mean 'executor'"),
        ("text: It is.", "texts: It is.", "did you mean 'text'"),
        (", text: It is.", "", "HAL-ABC-001\\) lacks text"),
        ("text: It is.", "text: 3", "no mapping of texts"),
    ],
)
def test_a_malformed_one_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(GOOD.replace(old, new))


def test_the_same_one_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        parse(GOOD + GOOD.splitlines()[1])
