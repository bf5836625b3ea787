"""One mutant, or the backend as it is, under the suite, in a process of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import attrs
import pytest

from hal_conformance.collecting import clause_ids, is_ours, test_id
from hal_conformance.gathering import SUITE_ARGUMENTS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOUND = [str(HERE), str(ROOT / "conformance" / "tests" / "doubles")]
"""Where the plug-in, and the double whose transport it has, are found as installed packages are."""

VARIABLE = "MUTANT"


@attrs.frozen
class Failure:
    """A test that has failed: its id, its clauses, and what it has said."""

    test: str
    clauses: tuple[str, ...]
    said: str


@attrs.frozen
class Run:
    """What came of some tests: how many passed and did not apply, and those that failed."""

    passed: int
    skipped: int
    failures: tuple[Failure, ...]
    seconds: float
    status: int


class _Observer:
    def __init__(self) -> None:
        self.passed = 0
        self.skipped = 0
        self.failures: list[Failure] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        told = yield
        if is_ours(item) and (told.when == "call" or not told.passed):
            self.passed += told.passed
            self.skipped += told.skipped
            if told.failed:
                self.failures.append(Failure(test_id(item), tuple(clause_ids(item)), told.longreprtext))
        return told


def run(connection: Connection, mutant: str, options: Sequence[str], log: str) -> None:
    """Run the suite with these options, and send what came of it; what it prints goes to a file."""
    for name in [name for name in os.environ if name.startswith("HAL_") or name == VARIABLE]:
        del os.environ[name]
    if mutant:
        os.environ[VARIABLE] = mutant
    sys.path[:0] = FOUND
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(written, stream)
    observer = _Observer()
    began = time.monotonic()
    arguments = [*SUITE_ARGUMENTS, "--hal-backend=mutant", "--hal-quick", *options]
    status = int(pytest.main(arguments, plugins=[observer]))
    connection.send(Run(observer.passed, observer.skipped, tuple(observer.failures), time.monotonic() - began, status))
