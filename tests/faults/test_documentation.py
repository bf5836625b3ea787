"""What docs/faults.md says that its programs print is what they print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .ranks import DEADLINE

DOCUMENT = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()


def run(name: str, tmp_path: Path) -> tuple[subprocess.CompletedProcess[str], str]:
    """The program of this name after the command that the text gives, and what the text says that it prints."""
    found = re.search(
        rf"With this as `{name}`:\n\n```python\n(.*?)^```\n\n`hal (run [^`]* {name})` .*?^```\n(.*?)^```$",
        DOCUMENT,
        re.DOTALL | re.MULTILINE,
    )
    assert found is not None
    program, command, printed = found.groups()
    (tmp_path / name).write_text(program)
    hal = str(Path(sys.executable).parent / "hal")
    done = subprocess.run(
        [hal, *command.split()], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    return done, printed


def test_going_on(tmp_path: Path) -> None:
    done, printed = run("go_on.py", tmp_path)
    assert done.stdout + done.stderr == printed
    assert done.returncode == 128 + 9


@pytest.mark.slow
def test_the_stall_report(tmp_path: Path) -> None:
    done, report = run("stall.py", tmp_path)
    assert done.returncode == 1

    def lines(text: str) -> list[str]:
        # either of two ranks may be the first whose deadline passes
        return [re.sub(r"passed on rank \d", "passed on rank 0", line) for line in text.splitlines()]

    said = lines(done.stderr)
    assert set(lines(report)) <= set(said), done.stderr
