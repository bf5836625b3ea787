"""What the suite's tests have to say of themselves, and what keeps a run from starting."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import cast

import attrs
import pytest

from hal_conformance import SUITE
from hal_conformance.clauses import clauses
from hal_conformance.collecting import check_clauses
from hal_conformance.settings import (
    PROFILES,
    Settings,
    check_clause_ids,
    check_profiles,
    parse_limit,
    parse_ranks,
    parse_seed,
)

MODULES = sorted(SUITE.glob("test_*.py"))


def clause_names(module: str) -> set[str]:
    """The clauses that are named in a module."""
    tree = ast.parse(module)
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("HAL-")
    }


def test_there_is_a_profile_for_everything() -> None:
    wanted = {
        "memory", "streams", "semaphores", "memory-channel", "port-channel", "switch-channel", "packets", "kernels",
        "executor", "collectives", "faults", "discovery", "config",
    }  # fmt: skip
    assert wanted <= set(PROFILES)


def test_every_mandatory_clause_has_a_test_and_none_is_unknown() -> None:
    named = set().union(*(clause_names(module.read_text("utf-8")) for module in MODULES))
    assert named <= set(clauses())
    assert {one.id for one in clauses().values() if one.needs_a_test} <= named


def test_the_suite_names_no_backend() -> None:
    for path in SUITE.parent.rglob("*.py"):
        imported = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {
            (node.module or "").split(".")[0]
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.ImportFrom)
        }
        assert not [name for name in imported if name.startswith("hal_") and name != "hal_conformance"], path


SETTINGS = Settings("acme", (2,), (), 5, False, None, None, (), 60.0)


def test_the_command_that_runs_a_test_again() -> None:
    assert SETTINGS.rerun("memory::test_a[1]", None) == (
        "hal conformance --backend acme --seed 5 --test 'memory::test_a[1]'"
    )
    quick = attrs.evolve(SETTINGS, quick=True, limit=3.0)
    assert quick.rerun("x", 4) == "hal conformance --backend acme --seed 5 --quick --ranks 4 --limit 3 --test x"


@pytest.mark.parametrize(("text", "ranks"), [("4", (4,)), ("1,2, 8", (1, 2, 8)), ("2,2", (2,)), (None, (7,))])
def test_ranks(text: str | None, ranks: tuple[int, ...]) -> None:
    assert parse_ranks(text, (7,)) == ranks


@pytest.mark.parametrize("text", ["", "0", "-1", "65", "1,,2", "two"])
def test_ranks_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="ranks are"):
        parse_ranks(text, ())


def test_other_options() -> None:
    assert parse_seed(None) == 0
    assert parse_seed("12") == 12
    assert parse_limit("2.5") == 2.5
    assert check_profiles(["memory"]) == ("memory",)
    for call in (
        lambda: parse_seed("-1"),
        lambda: parse_limit("0"),
        lambda: parse_limit("nan"),
        lambda: parse_limit("x"),
    ):
        with pytest.raises(ValueError, match="allowed is"):
            call()


def test_clauses_that_are_chosen() -> None:
    chosen = check_clause_ids(["HAL-MEM-001", "HAL-STR-001"])
    assert chosen == ("HAL-MEM-001", "HAL-STR-001")
    assert not attrs.evolve(SETTINGS, clauses=chosen).complete
    with pytest.raises(ValueError, match=r"unknown clause 'HAL-MEM-01': .* did you mean 'HAL-MEM-"):
        check_clause_ids(["HAL-MEM-01"])


class Item:
    """As much of a test as the check of its clauses looks at."""

    nodeid = "suite/test_memory.py::test_a"

    def __init__(self, *ids: str) -> None:
        self._marks = [pytest.mark.clause(*ids).mark] if ids else []

    def iter_markers(self, name: str) -> list[pytest.Mark]:
        assert name == "clause"
        return self._marks


def check(items: list[Item], *, complete: bool) -> None:
    check_clauses(cast("list[pytest.Item]", items), complete=complete)


def test_a_test_of_an_unknown_clause_or_of_none_ends_the_run() -> None:
    check([Item("HAL-MEM-001", "HAL-MEM-002")], complete=False)
    with pytest.raises(pytest.UsageError, match="names the unknown clause 'HAL-MEM-999'"):
        check([Item("HAL-MEM-999")], complete=False)
    with pytest.raises(pytest.UsageError, match="names no clause"):
        check([Item()], complete=False)


def test_a_mandatory_clause_without_a_test_ends_the_run_of_all_tests() -> None:
    everything = [one.id for one in clauses().values()]
    check([Item(*everything)], complete=True)
    check([Item(*everything[1:])], complete=False)
    with pytest.raises(pytest.UsageError, match="without a test: HAL-DSC-001"):
        check([Item(*everything[1:])], complete=True)


def test_a_file_that_does_not_import_is_told_as_ever(tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text("import a_module_that_is_not_there\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stdout
    assert "No module named 'a_module_that_is_not_there'" in done.stdout
    assert "AttributeError" not in done.stdout + done.stderr
