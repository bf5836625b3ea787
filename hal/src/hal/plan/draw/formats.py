"""The forms of a picture, by the suffix of its file, and what each needs installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from hal.interface.errors import UsageError, nearest

FORMATS = {".svg": "matplotlib", ".png": "matplotlib", ".html": "plotly"}
"""By suffix the package that writes the form; all of them come with `hal-core[draw]`."""


def check_output(path: str | Path) -> str:
    """The suffix of a picture's file; `UsageError` where no picture can be written there."""
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in FORMATS:
        near = nearest(suffix, FORMATS)
        hint = f"; did you mean {near!r}?" if near else ""
        raise UsageError(f"a picture in {str(file)!r}: the name ends with one of {', '.join(FORMATS)}{hint}")
    if file.is_dir():
        raise UsageError(f"a picture in {str(file)!r}: this is a folder")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"a picture in {str(file)!r}: its folder does not exist")
    if importlib.util.find_spec(FORMATS[suffix]) is None:
        raise UsageError(
            f"a picture as {suffix[1:]} needs {FORMATS[suffix]}, which is not installed: pip install 'hal-core[draw]'"
        )
    return suffix
