"""What `hal run` is to start: the command line of one rank, checked before any process is made."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hal.interface.errors import UsageError


def rank_command(program: Sequence[str], *, module: bool, env: Mapping[str, str]) -> list[str]:
    """The command line for `program` and its arguments.

    A Python file, and with `module` a module's name, is run by this very interpreter; anything else is looked up in
    `PATH`. `UsageError` where there is no such program or it cannot be executed.
    """
    if not program or not program[0]:
        raise UsageError("no program to run was given")
    name, arguments = program[0], list(program[1:])
    if module:
        return [sys.executable, "-m", name, *arguments]
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise UsageError(f"program {name!r} does not exist (looked in {Path.cwd()})")
        return [sys.executable, name, *arguments]
    path = shutil.which(name, path=env.get("PATH"))
    if path is not None:
        return [path, *arguments]
    if os.sep not in name:
        here = f"; there is a file of this name here: say ./{name}" if Path(name).is_file() else ""
        raise UsageError(f"program {name!r} was not found in PATH{here}")
    if not Path(name).exists():
        raise UsageError(f"program {name!r} does not exist")
    raise UsageError(f"program {name!r} is not executable" if Path(name).is_file() else f"program {name!r} is no file")
