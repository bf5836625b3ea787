"""Known failures: their file, which tests an entry covers, and which versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from hal.interface.errors import ConfigError
from hal_conformance.known import matches, read, stale

ENTRY = """
failures:
- pattern: "memory::test_a[1]"
  kind: xfail
  reason: it is so
  url: https://tracker.example/1
  version: ">=1.2,<2"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "known.yaml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(("version", "found"), [("1.2", 1), ("1.9.1", 1), ("2.0", 0), ("1.1", 0), ("1.5rc1", 1)])
def test_an_entry_is_for_some_versions(tmp_path: Path, version: str, found: int) -> None:
    assert len(read(write(tmp_path, ENTRY), version)) == found


def test_an_entry_without_a_version_is_for_all(tmp_path: Path) -> None:
    text = "\n".join(line for line in ENTRY.splitlines() if "version" not in line)
    assert [entry.kind for entry in read(write(tmp_path, text), "0.0.1")] == ["xfail"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: xfail", "kind: flaky", "unknown kind 'flaky': allowed are unsupported, xfail"),
        ("reason: it is so", "raeson: it is so", "did you mean 'reason'"),
        ("  url: https://tracker.example/1\n", "", "entry 1 lacks url"),
        (">=1.2,<2", "about 2", "no condition"),
        ("failures:", "failure:", "a list `failures`"),
        ("kind: xfail", "kind: [", "cannot be read"),
        ("kind: xfail", "kind: 3", "mapping of texts"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(write(tmp_path, ENTRY.replace(old, new)), "1.5")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none.yaml", "1.0")


@pytest.mark.parametrize(
    ("pattern", "test", "fits"),
    [
        ("memory::test_a[1]", "memory::test_a[1]", True),
        ("memory::test_a[*]", "memory::test_a[2-threads]", True),
        ("memory::*", "memory::test_a[1]", True),
        ("memory::test_a[12]", "memory::test_a[1]", False),
        ("memory::test_a", "memory::test_a[1]", False),
    ],
)
def test_patterns(pattern: str, test: str, fits: bool) -> None:
    assert matches(pattern, test) is fits


def test_an_entry_that_covers_no_test_is_stale(tmp_path: Path) -> None:
    entries = read(write(tmp_path, ENTRY), "1.5")
    assert stale(entries, ["memory::test_a[1]"]) == []
    assert stale(entries, ["memory::test_a[2]"]) == entries
