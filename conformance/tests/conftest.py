"""What the tests of the suite share: worlds, and runs of the suite against a double that is found as a backend is."""

from __future__ import annotations

import json
import multiprocessing.forkserver
import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from hal_conformance.world import Worlds

DOUBLES = Path(__file__).parent / "doubles"


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    """Worlds whose ranks can import the doubles; none of their processes is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOUBLES))
        made = Worlds("double", quick=True)
        multiprocessing.forkserver.ensure_running()
        yield made
        made.close()
    multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]  # else it lives as long as pytest


@attrs.frozen
class Done:
    """A run of `hal conformance`: its exit status, what it printed, and its results by the id of the test."""

    status: int
    text: str
    results: dict[str, dict[str, Any]]
    document: dict[str, Any]


Conformance = Callable[..., Done]


@pytest.fixture
def conformance(tmp_path: Path) -> Conformance:
    """Run `hal conformance` on the double, misbehaving as `fault` says."""

    def run(*arguments: str, fault: str = "", backend: str = "double") -> Done:
        command = [Path(sysconfig.get_path("scripts")) / "hal", "conformance", "--backend", backend, "--quick"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HAL_")}
        environment |= {"PYTHONPATH": str(DOUBLES), "DOUBLE_FAULT": fault}
        report = tmp_path / "report"
        done = subprocess.run(
            [*command, "--report", report, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        written = report / "results.json"
        document = json.loads(written.read_text("utf-8")) if written.exists() else {"results": []}
        results = {one["test"]: one for one in document["results"]}
        return Done(done.returncode, done.stdout + done.stderr, results, document)

    return run
