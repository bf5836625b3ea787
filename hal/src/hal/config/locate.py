"""Where `hal.yaml` is: named explicitly, by `HAL_CONFIG`, in the working directory or above it, or the user's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

FILE_NAME = "hal.yaml"
PATH_VARIABLE = "HAL_CONFIG"


def locate(path: str | os.PathLike[str] | None, env: Mapping[str, str], cwd: Path | None) -> Path | None:
    """The configuration file to read, or None where there is none.

    A file that was named, by `path` or `HAL_CONFIG`, is returned whether it exists or not: it was asked for, so its
    absence is the reader's error. `cwd` is the directory where the search starts; None if there is none.
    """
    named = path if path is not None else env.get(PATH_VARIABLE) or None
    if named is not None:
        expanded = Path(os.path.expanduser(named))
        return cwd / expanded if cwd is not None else expanded
    above = [] if cwd is None else [cwd, *cwd.parents]
    candidates = [*(folder / FILE_NAME for folder in above), _user_folder(env) / "hal" / FILE_NAME]
    return next((candidate for candidate in candidates if os.path.lexists(candidate)), None)


def working_directory() -> Path | None:
    """The process's working directory, or None where it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def label(path: Path, cwd: Path | None) -> str:
    """`path` as messages name it: relative where it lies below `cwd`."""
    if cwd is not None and path.is_relative_to(cwd):
        return str(path.relative_to(cwd))
    return str(path)


def _user_folder(env: Mapping[str, str]) -> Path:
    configured = Path(env.get("XDG_CONFIG_HOME", ""))
    if configured.is_absolute():  # the XDG specification has relative ones ignored
        return configured
    home = env.get("HOME")
    return (Path(home) if home else Path(os.path.expanduser("~"))) / ".config"
