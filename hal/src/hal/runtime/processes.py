"""Processes as others know them: a number, and when it was started, since numbers are used again."""

from __future__ import annotations

import functools
import os


def started(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None where it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X", b"x") else int(fields[19])


def alive(pid: int, start: int) -> bool:
    """Whether this very process still runs."""
    return started(pid) == start


@functools.cache
def _start(pid: int) -> int:
    return started(pid) or 0


def own() -> tuple[int, int]:
    """This process's number and start."""
    pid = os.getpid()
    return pid, _start(pid)
