"""A run that is ended by a signal: it reports what it knows, and leaves no process and no file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from .conftest import DOUBLES

FIRST = "discovery::test_the_plug_in_is_admitted[1]"
HANGS = "memory::test_size_and_alignment[1-1]"

pytestmark = pytest.mark.slow


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name is short enough for sockets in it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the run has made `path`, and say what it printed where it ends before."""
    end = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("number", "fault"),
    [(signal.SIGTERM, "hang"), (signal.SIGTERM, "stuck"), (signal.SIGINT, "hang"), (signal.SIGKILL, "stuck")],
)
def test_nothing_is_left(tmp_path: Path, short: Path, number: signal.Signals, fault: str) -> None:
    temporary, mark = short, tmp_path / "mark"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HAL_")}
    environment |= {"PYTHONPATH": str(DOUBLES), "DOUBLE_FAULT": fault, "DOUBLE_MARK": str(mark)}
    environment["TMPDIR"] = str(temporary)
    program = [Path(sysconfig.get_path("scripts")) / "hal", "conformance", "--backend", "double", "--quick"]
    process = subprocess.Popen(
        [*program, "--report", tmp_path / "report", "--test", FIRST, "--test", HANGS],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(mark, process)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2  # the server of the ranks, and at least one of them
        process.send_signal(number)
        text, _ = process.communicate(timeout=60)
        _, alive = psutil.wait_procs(family, timeout=20)
        assert alive == []
    finally:
        process.kill()
        process.wait(10)
    left = [path.name for path in temporary.iterdir()]
    if number == signal.SIGKILL:
        assert all(name.startswith("pymp-") for name in left)  # that of Python's own server of processes
        return
    assert left == []
    assert process.returncode == 128 + number
    assert "verdict: partial" in text
    report = json.loads((tmp_path / "report" / "results.json").read_text("utf-8"))
    assert report["verdict"] == "partial"
    assert [one["test"] for one in report["results"]] == [FIRST]
    assert [one["test"] for one in report["not_run"] if one["why"] == "not reached"] == [HANGS]
