"""What the tests say when something is not as it must be: what was looked at, the value seen and the one expected.

The tests run in processes of their own, where pytest does not rewrite `assert`; these functions take its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

E = TypeVar("E", bound=BaseException)

_LONGEST = 400


class Mismatch(AssertionError):  # noqa: N818 -- what a test found, no error of the suite
    """Something is not as it must be."""

    def __init__(self, what: str, seen: object, expected: object) -> None:
        self.what = what
        self.seen = _shown(seen)
        self.expected = _shown(expected)
        super().__init__(f"{what}: seen {self.seen}, expected {self.expected}")


class Resource(Exception):  # noqa: N818 -- an outcome, no error of the backend
    """This machine has not what the test needs; the test counts as not run."""


def equal(seen: object, expected: object, what: str) -> None:
    """`seen == expected`, else a `Mismatch`."""
    if seen != expected:
        raise Mismatch(what, seen, expected)


def true(holds: object, what: str, seen: object = "it does not hold", expected: object = "it holds") -> None:
    """`holds`, else a `Mismatch`."""
    if not holds:
        raise Mismatch(what, seen, expected)


def at_most(seen: float, limit: float, what: str) -> None:
    """`seen <= limit`, else a `Mismatch`."""
    if not seen <= limit:
        raise Mismatch(what, seen, f"at most {limit}")


def same_bits(seen: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    """Arrays of the same bits, NaN and signs of zero included; else a `Mismatch` with the first difference."""
    if seen.dtype != expected.dtype or seen.shape != expected.shape:
        raise Mismatch(what, f"{seen.shape} of {seen.dtype}", f"{expected.shape} of {expected.dtype}")
    if not seen.size:
        return
    a = np.ascontiguousarray(seen).view(np.uint8).reshape(seen.size, -1)
    b = np.ascontiguousarray(expected).view(np.uint8).reshape(seen.size, -1)
    wrong = np.flatnonzero((a != b).any(axis=1))
    if wrong.size:
        at = int(wrong[0])
        where = f"{what}: {wrong.size} of {seen.size} elements differ, the first at {at}"
        raise Mismatch(where, _element(seen, at), _element(expected, at))


def same_numbers(seen: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    """As `same_bits`, but any NaN will do for a NaN."""
    if seen.dtype == expected.dtype and seen.shape == expected.shape and seen.dtype.kind not in "iu":
        nan = np.isnan(seen.astype(np.float64)) & np.isnan(expected.astype(np.float64))
        seen = np.where(nan, expected, seen)
    same_bits(seen, expected, what)


def raises(kind: type[E], call: Callable[[], object], what: str) -> E:
    """The error of that kind that `call` raises; a `Mismatch` where it raises another one or none."""
    try:
        returned = call()
    except kind as error:
        return error
    except Exception as error:
        raise Mismatch(what, f"{type(error).__name__}: {error}", kind.__name__) from error
    raise Mismatch(what, f"it returned {_shown(returned)}", kind.__name__)


def _element(array: NDArray[Any], at: int) -> str:
    flat = array.reshape(-1)
    return f"{flat[at]!s} (bytes {flat[at : at + 1].tobytes().hex()})"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
