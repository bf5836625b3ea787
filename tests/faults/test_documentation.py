"""The stall report in docs/faults.md is what its command prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .ranks import DEADLINE

DOCUMENT = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()


@pytest.mark.slow
def test_the_stall_report(tmp_path: Path) -> None:
    program = re.search(r"^```python\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    report = re.search(r"^```\n(\[0\] .*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert program is not None
    assert report is not None
    (tmp_path / "stall.py").write_text(program[1])
    hal = str(Path(sys.executable).parent / "hal")
    done = subprocess.run(
        [hal, "run", "-n", "3", "stall.py"], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 1

    def lines(text: str) -> list[str]:
        # either of two ranks may be the first whose deadline passes
        return [re.sub(r"passed on rank \d", "passed on rank 0", line) for line in text.splitlines()]

    said = lines(done.stderr)
    assert set(lines(report[1])) <= set(said), done.stderr
