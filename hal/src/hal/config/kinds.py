"""The kinds of value a setting can have: how each is read from text or YAML, what is allowed, how it is shown.

A kind reads what YAML, an environment variable or a caller gives, so numbers may come as text. It never guesses: what
is not clearly a value of the kind is refused with the sentence that says what is.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import attrs

from hal.interface.errors import nearest

T = TypeVar("T")

_LARGEST_INTEGER = 2**63 - 1
_LONGEST_DURATION = 720 * 3600.0
_SHOWN_LENGTH = 60

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h)?", re.ASCII)
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_SIZE = re.compile(r"(\d{1,19})\s*([KMGT])?", re.ASCII)
_SIZE_UNITS = {"T": 2**40, "G": 2**30, "M": 2**20, "K": 2**10, None: 1}
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_NAME = re.compile(r"[a-z0-9_]+", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_.:@-]{1,64}", re.ASCII)
_BACKEND_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)


@attrs.frozen
class Kind(Generic[T]):
    """One kind of value; calling it with a raw value reads it, which makes it an attrs converter.

    `what` names it with its article ("a duration") and `allowed` says what is accepted. `read` raises `ValueError`
    for anything else; its message is used where there is one, and the standard sentence otherwise. `show` gives the
    text for people.
    """

    what: str
    allowed: str
    read: Callable[[object], T]
    show: Callable[[T], str] = str

    def __call__(self, raw: object) -> T:
        """The value that `raw` stands for; `ValueError` saying what is allowed where it stands for none."""
        try:
            return self.read(raw)
        except BadValue:
            raise
        except (ValueError, OverflowError):
            raise ValueError(f"{shown(raw)} is not {self.what}: allowed is {self.allowed}") from None


class BadValue(ValueError):  # noqa: N818 -- not an error of HAL's own families: the loader turns it into a ConfigError
    """Problems inside a value: each the path within the value, for finding its line, and what is wrong there."""

    def __init__(self, problems: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(message for _, message in self.problems))


def shown(raw: object) -> str:
    """A raw value as a message names it: short, on one line, in YAML's words."""
    if raw is None:
        return "an empty value"
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, dict):
        return "a mapping"
    if isinstance(raw, list | tuple):
        return "a list"
    try:
        text = repr(raw)
    except ValueError:  # an integer of more digits than Python is willing to print
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN_LENGTH else f"{text[: _SHOWN_LENGTH - 1]}…"


def duration() -> Kind[float]:
    """Seconds as a float: a number, or text with a unit (`500ms`, `30s`, `2m`, `1h`); more than 0."""

    def read(raw: object) -> float:
        if isinstance(raw, str):
            seconds = _duration_text(raw)
        elif isinstance(raw, int | float) and not isinstance(raw, bool):
            seconds = float(raw)
        else:
            raise ValueError
        if not (math.isfinite(seconds) and 0 < seconds <= _LONGEST_DURATION):
            raise ValueError
        return seconds

    allowed = "seconds as a number, or text such as 500ms, 30s, 2m, 1h; more than 0, at most 720h"
    return Kind(
        "a duration", allowed, read, lambda seconds: f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:g}s"
    )


def size(at_least: int = 0) -> Kind[int]:
    """Bytes as an int: a number, or text with K, M, G or T (powers of two: `64K` is 65536)."""

    def read(raw: object) -> int:
        if isinstance(raw, str):
            match = _SIZE.fullmatch(raw.strip().upper())
            if match is None:
                raise ValueError
            count = int(match[1]) * _SIZE_UNITS[match[2]]
        else:
            count = _plain_integer(raw)
        if not at_least <= count <= _LARGEST_INTEGER:
            raise ValueError
        return count

    return Kind(
        "a size", f"bytes as a number, or text such as 64K, 1M, 2G; at least {_show_size(at_least)}", read, _show_size
    )


def integer(at_least: int = 0) -> Kind[int]:
    """An int of at least `at_least`."""

    def read(raw: object) -> int:
        if isinstance(raw, str):
            if _INTEGER.fullmatch(raw.strip()) is None:
                raise ValueError
            count = int(raw)
        else:
            count = _plain_integer(raw)
        if not at_least <= count <= _LARGEST_INTEGER:
            raise ValueError
        return count

    return Kind("a number allowed here", f"an integer of at least {at_least}", read)


def truth() -> Kind[bool]:
    """True or false, also as text."""

    def read(raw: object) -> bool:
        if raw in ("true", "false"):
            return raw == "true"
        if not isinstance(raw, bool):
            raise ValueError
        return raw

    return Kind("a truth value", "true or false", read, shown)


def name() -> Kind[str]:
    """A name as algorithms have it: a-z, 0-9 and _."""
    return _pattern(_NAME, "a name", "a name of a-z, 0-9 and _")


def backend_name() -> Kind[str]:
    """A backend's plug-in name: a-z, 0-9, _ and -, beginning with a letter or digit."""
    return _pattern(_BACKEND_NAME, "a backend's name", "the name of an installed backend, such as host")


def backend_names() -> Kind[tuple[str, ...]]:
    """Names of backends in order, as a list or as text with commas; `none` for no backend."""

    def read(raw: object) -> tuple[str, ...]:
        if isinstance(raw, str):
            raw = [] if raw.strip() == "none" else [part.strip() for part in raw.split(",")]
        if not isinstance(raw, list | tuple):
            raise ValueError
        one = backend_name()
        names = tuple(one(name) for name in raw)
        if len(set(names)) != len(names):
            raise BadValue([((), f"{shown(', '.join(names))} names a backend twice")])
        return names

    allowed = "a list of names of installed backends, or text such as ib,tcp, or none"
    return Kind("a list of backends", allowed, read, lambda names: ",".join(names) or "none")


def word(what: str) -> Kind[str]:
    """A text for machines, such as the name or address of a network interface; `what` names it with its article."""
    return _pattern(_WORD, what, "1 to 64 of the characters A-Z, a-z, 0-9 and _ . : @ -")


def output_file() -> Kind[str]:
    """The path of a file to write, as text; whether it can be written is found out by who opens it."""

    def read(raw: object) -> str:
        if not isinstance(raw, str | os.PathLike) or not str(raw).strip() or "\0" in str(raw):
            raise ValueError
        return str(raw)

    return Kind("a file to write", "the path of a file in a folder that exists", read)


def input_file() -> Kind[str]:
    """The path of a regular file that is there, as text; in `hal.yaml` relative to its folder."""

    def read(raw: object) -> str:
        if not isinstance(raw, str | os.PathLike) or not str(raw).strip() or "\0" in str(raw):
            raise ValueError
        if not os.path.isfile(raw):
            raise BadValue([((), f"there is no file {raw}")])
        return str(raw)

    return Kind("a file", "the path of a file, relative to the configuration file", read)


def choice(*names: str) -> Kind[str]:
    """One of `names`."""

    def read(raw: object) -> str:
        if isinstance(raw, str) and raw in names:
            return raw
        near = nearest(raw[:_SHOWN_LENGTH], names) if isinstance(raw, str) else None
        hint = f"; did you mean {near!r}?" if near else ""
        raise BadValue([((), f"{shown(raw)} is not allowed: allowed are {', '.join(names)}{hint}")])

    return Kind("one of them", ", ".join(names), read)


def _pattern(pattern: re.Pattern[str], what: str, allowed: str) -> Kind[str]:
    def read(raw: object) -> str:
        if not isinstance(raw, str) or pattern.fullmatch(raw) is None:
            raise ValueError
        return raw

    return Kind(what, allowed, read)


def _plain_integer(raw: Any) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise ValueError
    return raw


def _duration_text(raw: str) -> float:
    match = _DURATION.fullmatch(raw.strip())
    if match is None:
        raise ValueError
    return float(match[1]) * _DURATION_UNITS[match[2]]


def _show_size(count: int) -> str:
    for suffix, unit in _SIZE_UNITS.items():
        if suffix and count >= unit and count % unit == 0:
            return f"{count // unit}{suffix}"
    return str(count)
