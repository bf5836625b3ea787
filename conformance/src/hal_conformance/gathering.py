"""Which tests the installed suite has for some settings, found without a backend."""

from __future__ import annotations

import contextlib
import io

import pytest

from hal.interface.errors import UsageError
from hal_conformance import SUITE
from hal_conformance.collecting import is_ours, without_outcome
from hal_conformance.results import NotRun
from hal_conformance.settings import Settings

SUITE_ARGUMENTS = (
    str(SUITE),
    f"--rootdir={SUITE}",
    f"--confcutdir={SUITE}",
    f"--config-file={SUITE / 'pytest.ini'}",
    "--quiet",
)
"""What pytest is told so that it runs the suite, and nothing of the folder it is started in takes part."""


class _Gatherer:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.found: list[NotRun] = []

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        if is_ours(item):
            self.found.append(without_outcome(item, self.settings))


def tests_of_suite(settings: Settings) -> list[NotRun]:
    """All tests that a run with these settings knows, each as if the run had not come to it."""
    gatherer, said = _Gatherer(settings), io.StringIO()
    ranks = [f"--hal-ranks={','.join(map(str, settings.ranks))}"] if settings.ranks_given else []
    quick = ["--hal-quick"] if settings.quick else []
    # the name is not looked up: nothing is run
    arguments = [*SUITE_ARGUMENTS, "--collect-only", f"--hal-backend={settings.backend}", *ranks, *quick]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = pytest.main(arguments, plugins=[gatherer])
    if status != pytest.ExitCode.OK:
        raise UsageError(f"the tests of the installed suite cannot be listed:\n{said.getvalue()}")
    return gatherer.found
