"""Each library behind the same few calls."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments: what is timed is just `function(*arguments)`."""


class Adapter(Protocol):
    """A library, joined to its job."""

    rank: int
    size: int
    version: str

    def allocate(self, kind: str, count: int) -> Array:
        """`count` float32 elements in memory of this kind."""

    def calls(self, collective: str, source: Array, target: Array) -> list[Call]:
        """The calls of a collective that are made in turn: one, or one for each root.

        `all_reduce` and `broadcast` work in place: `source` and `target` are the same array. `ValueError` where the
        library does not have the collective.
        """

    def barrier(self) -> None:
        """Return when every rank is here."""

    def close(self) -> None:
        """Leave the job."""


def join(name: str) -> Adapter:
    """Join the job that this process was started for, through the adapter of this name."""
    adapter: Adapter = importlib.import_module(f"{__name__}.{name}").join()
    return adapter
