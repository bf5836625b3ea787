"""Who a process is, and whether it still lives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process: its id, which may come back for another one, and when that one began."""

    pid: int
    began: int
    """Clock ticks since the machine started."""

    def alive(self) -> bool:
        """Whether it runs. One that has ended and was not waited for yet does not."""
        return _began(self.pid) == self.began


def this() -> Process:
    """This process."""
    began = _began(os.getpid())
    assert began is not None
    return Process(os.getpid(), began)


def _began(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # behind the name, which may hold anything
    return None if fields[0] in "ZX" else int(fields[19])
