"""`python -m tests.doubles.rxe [--timeout SECONDS] COMMAND ...`: run a command where there is an RDMA device.

Where this machine has one, the command runs here; else in the virtual machine. The exit status is the command's, or 125
where the machine failed, or 77 where it cannot be had.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from .. import debian
from . import machine

UNAVAILABLE = 77
"""Status for what could not be had, as automake's tests have it."""


def device_here() -> bool:
    """Whether this machine has an RDMA device."""
    folder = Path("/sys/class/infiniband")
    return folder.is_dir() and any(folder.iterdir())


def main() -> int:
    """Run the command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.doubles.rxe", description=__doc__)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for boot and command (default: 300)")
    parser.add_argument("--machine", action="store_true", help="in the virtual machine, also where a device is here")
    parser.add_argument("--processors", type=int, default=1, help="of the virtual machine (default: 1)")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if not given.command:
        parser.error("a command is needed")
    if device_here() and not given.machine:
        print("rxe: this machine has an RDMA device, and the command runs here", file=sys.stderr)
        return subprocess.run(given.command, timeout=given.timeout, check=False).returncode
    try:
        done = machine.run(given.command, timeout=given.timeout, processors=given.processors)
    except debian.Unavailable as error:
        print(f"rxe: the virtual machine cannot be had: {error}", file=sys.stderr)
        return UNAVAILABLE
    except machine.MachineFailure as error:
        print(f"rxe: {error}", file=sys.stderr)
        return machine.GUEST_FAILED
    print(f"rxe: status {done.status}, booted in {done.boot:.1f} s, {done.wall:.1f} s in all", file=sys.stderr)
    return done.status


if __name__ == "__main__":
    sys.exit(main())
