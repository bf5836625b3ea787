"""Primitives that are not written yet: how a backend says so, and what the suite makes of it.

A stub raises an error, of any class, with a text such as

    not written yet: Device.allocate; see HAL-MEM-001 to HAL-MEM-004; docs/spec/memory.md

of which all but the name may be left out. `hal new-backend` writes such stubs. A test that meets one fails, as it must,
but with this sentence in place of a report, and a run says which one to write next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SENTENCE = re.compile(
    r"not written yet: (?P<name>[\w.]+)(; see (?:HAL-[A-Z]{3}-\d{3}(?:, | to )?)+)?(; docs/[\w/]+\.md)?"
)


def sentence(text: str) -> str:
    """What a stub has said in this text; nothing where none has."""
    found = _SENTENCE.search(text)
    return found.group() if found is not None else ""


def said_by(error: BaseException) -> str:
    """What a stub has said in this error, or in one that led to it; nothing where none has."""
    return next((said for one in _chain(error) if (said := sentence(str(one)))), "")


def name(text: str) -> str:
    """The primitive that a stub has named in this text; nothing where none has."""
    found = _SENTENCE.search(text)
    return found["name"] if found is not None else ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__
