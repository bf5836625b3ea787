"""Each library behind the same few calls."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments: what is timed is just `function(*arguments)`."""
Loop = Callable[[int, int, bool], tuple[int, int]]
"""Runs a batch of `(iterations, warmup, dirty)`: nanoseconds of all calls with refilling, and of refilling alone."""


class Adapter(Protocol):
    """A library, joined to its job."""

    rank: int
    size: int
    version: str
    scattered_block: int
    """The block of its input in which reduce_scatter in place leaves this rank's result."""

    def allocate(self, kind: str, count: int) -> Array:
        """`count` float32 elements in memory of this kind."""

    def calls(self, collective: str, source: Array, target: Array, *, in_place: bool, kind: str) -> list[Call]:
        """The calls of a collective that are made in turn: one, one for each root, or two messages, there and back.

        In place `source` and `target` are the same array, or one is a block of the other. `ValueError` where the
        library does not have the collective in this form.
        """

    def loop(self, kind: str, source: Array, calls: list[Call]) -> Loop | None:
        """What runs a batch of `calls` where it is not Python that does: None for all kinds but those from C."""

    def barrier(self) -> None:
        """Return when every rank is here."""

    def close(self) -> None:
        """Leave the job."""


def partner(rank: int) -> int:
    """The rank with which one exchanges messages in send_recv: 0 with 1, 2 with 3 and so on."""
    return rank ^ 1


def ping_pong(rank: int, send: Call, recv: Call) -> list[Call]:
    """A message from the even rank of a pair, then one back."""
    return [recv, send] if rank % 2 else [send, recv]


def unknown(library: str, collective: str, in_place: bool) -> ValueError:
    """The error for what a library does not have."""
    return ValueError(f"{library} has no {collective}{' in place' if in_place else ''}")


def join(name: str) -> Adapter:
    """Join the job that this process was started for, through the adapter of this name."""
    adapter: Adapter = importlib.import_module(f"{__name__}.{name}").join()
    return adapter
