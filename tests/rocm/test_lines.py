"""How much of the backends for GPUs is specific to a vendor, as the page on ROCm says it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .lines import count

ROOT = Path(__file__).parents[2]
MOST = 600


@pytest.mark.parametrize(("backend", "vendor"), [("rocm", "AMD"), ("cuda", "NVIDIA")])
def test_the_page_counts_the_lines_of(backend, vendor):
    source = ROOT / "backends" / backend / "src"
    files = [path for path in source.rglob("*") if path.suffix in (".py", ".h")]
    lines = sum(map(count, files))
    said = re.search(rf"(\d+) for {vendor}", (ROOT / "docs" / "rocm.md").read_text())
    assert said is not None
    assert int(said[1]) == lines
    assert lines < MOST
