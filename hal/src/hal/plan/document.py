"""Reading JSON from outside: within limits of size and number, and with the place of whatever is wrong.

A document is read by decoders, functions that take a value as JSON has it and return what it stands for, or raise a
`Problem`, to which each level on the way out adds its part of the path. What a reader does takes time and memory in
proportion to the document.
"""

from __future__ import annotations

import dataclasses
import json
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hal.interface.errors import PlanError, unknown_name

LARGEST_DOCUMENT = 64 << 20
"""Bytes."""
MOST_VALUES = 8 << 20
"""Values (numbers, texts, lists, objects, keys) in a document: they take far more memory than their text."""
LARGEST_NUMBER = 1 << 40


class Problem(Exception):  # noqa: N818 -- never leaves the reader, which turns it into a PlanError
    """What is wrong with a value; on its way out each level adds its part of the path."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.path: list[str] = []

    def error(self) -> PlanError:
        """The error for the caller, which begins with the place in the document."""
        place = "".join(reversed(self.path)).removeprefix(".")
        return PlanError(f"{place}: {self.message}" if place else self.message)


@dataclasses.dataclass
class Repeated:
    """In place of an object that has a key twice, so that the message can say where."""

    key: str


def content(path: str | Path) -> bytes:
    """The bytes of the file, up to one more than are read; `PlanError` naming it where it cannot be read."""
    try:
        # opening a pipe would wait for its writer
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise PlanError(f"{path}: is not a regular file")
        with Path(path).open("rb") as file:
            return file.read(LARGEST_DOCUMENT + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, PlanError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PlanError(f"{path}: cannot be read: {reason}") from None


def parsed(text: str | bytes) -> Any:
    """The values that a JSON document holds; an object that has a key twice becomes `Repeated`."""
    if len(text) > LARGEST_DOCUMENT:
        raise Problem(f"a plan of more than {LARGEST_DOCUMENT} bytes is not read")
    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem(f"not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}") from None
    if sum(map(text.count, ",:[{")) > MOST_VALUES:
        raise Problem(f"a plan of more than {MOST_VALUES} values is not read")
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise Problem(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError:
        raise Problem("not usable JSON: a number has too many digits") from None
    except RecursionError:
        raise Problem("not usable JSON: nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Repeated:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    counts = Counter(key for key, _ in pairs)
    return Repeated(next(key for key, count in counts.items() if count > 1))


def short(name: str) -> str:
    """The beginning of a text that may be of any length."""
    return name if len(name) <= 60 else name[:60] + "…"


def shown(value: Any) -> str:
    """A value as messages name it."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return repr(short(value))
    if isinstance(value, int) and abs(value) > 1 << 64:
        return "a number of more than 64 bits"
    return json.dumps(value)


def expected(what: str, value: Any) -> Problem:
    """The problem of a value that is not what it should be."""
    if isinstance(value, Repeated):
        return Problem(f"key {short(value.key)!r} appears twice")
    return Problem(f"expected {what}, not {shown(value)}")


Decoder = Callable[[Any], Any]
"""Returns what a value of the document stands for, or raises a `Problem`."""


def number_up_to(largest: int) -> Callable[[Any], int]:
    """What reads a whole number from 0 to `largest`."""

    def decode(value: Any) -> int:
        if type(value) is not int or not 0 <= value <= largest:
            raise expected(f"a whole number from 0 to {largest}", value)
        return value

    return decode


whole_number = number_up_to(LARGEST_NUMBER)


def truth(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise expected("true or false", value)
    return value


def text(value: Any) -> str:
    """A text."""
    if type(value) is not str:
        raise expected("a text", value)
    return value


def choice(kind: str, options: Mapping[str, Any]) -> Decoder:
    """What reads one of some names, and returns what `options` has for it; `kind` is what messages call them."""

    def decode(value: Any) -> Any:
        found = options.get(value) if type(value) is str else None
        if found is None:
            if type(value) is not str:
                raise expected(f"one of {', '.join(options)}", value)
            raise Problem(unknown_name(kind, short(value), options))
        return found

    return decode


def optional(inner: Decoder) -> Decoder:
    """What reads null too."""
    return lambda value: None if value is None else inner(value)


def sequence(inner: Decoder) -> Decoder:
    """What reads a list of which `inner` reads every item, as a tuple."""

    def decode(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise expected("a list", value)
        items: list[Any] = []
        try:
            for item in value:
                items.append(inner(item))  # noqa: PERF401 -- its length is the index of the item that fails
        except Problem as problem:
            problem.path.append(f"[{len(items)}]")
            raise
        return tuple(items)

    return decode


def record(
    make: Callable[..., Any],
    decoders: Mapping[str, Decoder],
    required: Sequence[str],
    refuse: Callable[[str], str] | None = None,
) -> Decoder:
    """What reads an object: each key by its decoder, into arguments of `make`.

    `refuse` says what is wrong with a key that is none of those; by default that it is unknown.
    """

    def unknown(key: str) -> str:
        return unknown_name("key", short(key), decoders)

    def decode(value: Any) -> Any:
        if type(value) is not dict:
            raise expected("an object", value)
        fields = {}
        for key, item in value.items():
            decoder = decoders.get(key)
            if decoder is None:
                raise Problem((refuse or unknown)(key))
            try:
                fields[key] = decoder(item)
            except Problem as problem:
                problem.path.append(f".{key}")
                raise
        for key in required:
            if key not in fields:
                raise Problem(f"key {key!r} is missing")
        return make(**fields)

    return decode
