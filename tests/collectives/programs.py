"""Ranks that are processes of a program of their own, started as a user starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def printed(folder: Path, program: str, size: int) -> list[str]:
    """What `size` ranks print, word by word, that run this text with `hal run`; all must end well."""
    script = folder / "program.py"
    script.write_text(program)
    run = [Path(sys.executable).with_name("hal"), "run", "-n", str(size), "--no-prefix", sys.executable, script]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
