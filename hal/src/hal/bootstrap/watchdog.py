"""Ends what the ranks have started if the launcher itself is killed.

Run as a script, with a pipe from the launcher as its standard input: `+PID` for a rank that started, `-PID` for one
that ended and was cleaned up after. When the pipe closes, the sessions of all others are killed. The kernel kills the
ranks themselves (see exec_shim.py), but knows nothing of their children. Imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def kill_session(leader: int) -> None:
    """Kill every process in the session that `leader` leads or led, whatever its process group."""
    with contextlib.suppress(OSError):  # nobody is left in the group
        os.killpg(leader, signal.SIGKILL)
    if not os.path.isdir("/proc/self"):
        return
    # a second look finds what was forked during the first
    for _ in range(2):
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            with contextlib.suppress(OSError):  # it ended in between
                if os.getsid(pid) == leader:
                    os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Follow the launcher's notes until the pipe closes."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    running: set[int] = set()
    for line in sys.stdin:
        if line.startswith("+"):
            running.add(int(line[1:]))
        else:
            running.discard(int(line[1:]))
    for leader in running:
        kill_session(leader)


if __name__ == "__main__":
    main()
