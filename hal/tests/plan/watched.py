"""Runs one command of `hal plan` on files, within limits of memory and processor time for each, and says how it ended.

    python watched.py MEMORY SECONDS COMMAND FILE…

Prints a JSON list of [kind, message], one for each file: `read`, `verdict` (exit status 1), `error` with the message,
or else what went wrong: `too slow`, `too much memory`, `crash`.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path

from typer.testing import CliRunner

from hal.cli import app
from hal.interface.errors import PlanError
from hal.plan import load

ARGUMENTS = {
    "simulate": [
        "--topology",
        str(Path(__file__).parents[3] / "examples" / "topologies" / "one-node.yaml"),
        "--size",
        "1M",
    ],
}


class TooSlow(BaseException):
    pass


def out_of_time(*_: object) -> None:
    raise TooSlow


def outcome(command: str, path: str) -> tuple[str, str]:
    if command == "load":
        try:
            load(path)
        except PlanError as error:
            return "error", str(error)
        return "read", ""
    arguments = ["plan", command, path, *ARGUMENTS.get(command, [])]
    if command == "draw":
        arguments += ["--output", f"{path}.svg"]
    result = CliRunner().invoke(app, arguments)
    failure = result.exception
    if failure is not None and not isinstance(failure, SystemExit):
        raise failure
    if result.exit_code == 2:
        text = result.stderr.strip()
        return ("error", text) if text.count("error: ") == 1 else ("crash", text)
    return ("verdict" if result.exit_code else "read"), ""


def watched(command: str, path: str, seconds: float) -> tuple[str, str]:
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        return outcome(command, path)
    except TooSlow:
        return "too slow", f"more than {seconds} s"
    except MemoryError:
        return "too much memory", ""
    except Exception as error:  # whatever a reader did not expect
        return "crash", repr(error)[:500]
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def main() -> None:
    memory, seconds, command, *paths = sys.argv[1:]
    signal.signal(signal.SIGVTALRM, out_of_time)
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    print(json.dumps([watched(command, path, float(seconds)) for path in paths]))


main()
