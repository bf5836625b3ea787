"""Becomes a rank's program, after arranging that the kernel kills it when the launcher dies.

Run as a script: `python exec_shim.py LAUNCHER_PID PROGRAM ARGUMENT…`. It is a program of its own because code run
between fork and exec in a process with threads may deadlock. Imports nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set the signal, check that the launcher is still there, and exec."""
    launcher, program = int(sys.argv[1]), sys.argv[2:]
    # Python ignores these from its start on, which exec would pass on to the program
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    # elsewhere than on Linux the watchdog alone has to do
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit("the rank's death with its launcher could not be arranged (prctl failed)")
    if os.getppid() != launcher:
        sys.exit("the launcher is gone")
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.stderr.write(f"{program[0]} could not be started: {error.strerror}\n")
        sys.exit(126)


if __name__ == "__main__":
    main()
