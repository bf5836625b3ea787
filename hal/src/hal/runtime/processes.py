"""Processes as others know them: a number, and when it was started, since numbers are used again."""

from __future__ import annotations

import functools
import os

_EXITING = 0x4
"""Among the flags of a process: it runs no more and gives back what it had (`PF_EXITING` in the kernel's sched.h)."""


def started(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None where it has ended or is on its way out."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, *fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    exiting = int(fields[5]) & _EXITING
    return None if exiting or state in (b"Z", b"X", b"x") else int(fields[18])


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
