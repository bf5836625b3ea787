"""What passes between the process that conducts a test and those that hold its ranks."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from hal.interface.errors import HalError, NotSupported
from hal_conformance import unwritten
from hal_conformance.expect import Mismatch, Resource

Outcome = Literal["pass", "fail", "not_supported", "xfail", "xpass", "resource", "timeout", "crash"]
"""How a test ended. `not_supported`, `xfail` and `resource` are no failures; all but `pass` leave a clause untested."""

Ended = Literal["returned", "failed", "refused", "resource", "died"]
"""How a rank's part of a test ended: `refused` is a `NotSupported`, `died` a death that was part of the test."""

_FRAMES = 6


@attrs.frozen
class Place:
    """Where the ranks of a world meet, which backend they test, and what every test of this run goes by."""

    backend: str
    size: int
    threads: bool
    address: str
    secret: str
    quick: bool


@attrs.frozen
class Task:
    """One test's part: `function` is `module:name`, called with a `Rank` and `arguments` on every rank."""

    number: int
    function: str
    arguments: Mapping[str, Any]
    seed: str


@attrs.frozen
class Answer:
    """How one rank's part ended. `value` is what it returned; the rest says what was wrong."""

    number: int
    rank: int
    ended: Ended
    value: Any = None
    what: str = ""
    seen: str = ""
    expected: str = ""
    where: str = ""
    consequence: bool = False
    """Whether the error was that another rank of the test had failed."""


def answer_for(number: int, rank: int, error: BaseException, *, consequence: bool = False) -> Answer:
    """The answer of a rank whose part ended with `error`."""
    where = _where(error)
    if said := unwritten.said_by(error):
        return Answer(number, rank, "failed", what=said)
    match error:
        case Mismatch():
            return Answer(number, rank, "failed", None, error.what, error.seen, error.expected, where)
        case Resource():
            return Answer(number, rank, "resource", what=str(error))
    seen = f"{type(error).__name__}: {error}"
    ended: Ended = "refused" if isinstance(error, NotSupported) else "failed"
    kind = "an error" if isinstance(error, HalError) else "an error that is none of HAL's"
    return Answer(number, rank, ended, None, f"the test ended with {kind}", seen, "no error", where, consequence)


def _where(error: BaseException) -> str:
    """The last few places that the error passed through, innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    shown = [f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames]
    inside = [line for line in shown if "hal_conformance/worker" not in line and "hal_conformance/expect" not in line]
    notes = [line for note in getattr(error, "__notes__", []) for line in note.splitlines()]
    return "\n".join([*inside[-_FRAMES:], *notes])
