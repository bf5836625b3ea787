"""What the transport needs of libibverbs, implemented twice: by the compiled module and by pyverbs."""

from __future__ import annotations

import abc
import enum
from collections.abc import Sequence
from typing import Protocol

import attrs

from hal_ib.choice import Choice
from hal_ib.settings import IbSettings


class Status(enum.IntEnum):
    """How a call ended; `Link.failure` says more of FAILED."""

    OK = 0
    TIMEOUT = 1
    FAILED = 2


@attrs.frozen
class Address:
    """Where the queue pairs of a peer are, and by which GID of this side."""

    gid: bytes
    own_gid_index: int
    is_global: bool
    lid: int
    mtu: int


class Region(abc.ABC):
    """Registered memory."""

    lkey: int
    rkey: int
    native_door = False
    """Whether it can be named on the native door."""

    @abc.abstractmethod
    def close(self) -> None:
        """Withdraw it; closing twice is allowed."""


class Door(Protocol):
    """The table of functions by which native code posts (hal/native/transport.h)."""

    @property
    def address(self) -> int:
        """Of the table."""

    def resolve(self, address: int, nbytes: int, rkey: int) -> int:
        """The number that stands for a peer's memory."""

    def close(self) -> None:
        """Let every function fail from now on."""


class Link(abc.ABC):
    """The queue pairs of a connection. Addresses and keys are integers, times seconds, and nothing is checked.

    What is posted takes effect in order; `put`, `get` and `add` wait, for the `post_timeout` of the settings, only
    where a queue is full. After FAILED it always fails.
    """

    @property
    @abc.abstractmethod
    def numbers(self) -> tuple[int, ...]:
        """Of the queue pair for `knock`, then of those for data."""

    @abc.abstractmethod
    def arrange(self, to: Address, numbers: Sequence[int], own_psn: int, peer_psn: int) -> None:
        """Bring all queue pairs to where they send and receive; `OSError` where one refuses."""

    @abc.abstractmethod
    def knock(self, timeout: float) -> Status:
        """OK when the peer has arranged its side. TIMEOUT may be followed by another call."""

    @abc.abstractmethod
    def put(self, remote: int, rkey: int, local: int, lkey: int, nbytes: int) -> Status:
        """Post a write."""

    @abc.abstractmethod
    def get(self, remote: int, rkey: int, local: int, lkey: int, nbytes: int) -> Status:
        """Post a read."""

    @abc.abstractmethod
    def add(self, remote: int, rkey: int, value: int) -> Status:
        """Post an atomic addition of a 64-bit number."""

    @abc.abstractmethod
    def flush(self, timeout: float) -> Status:
        """OK when all that was posted is complete. TIMEOUT may be followed by another call."""

    @property
    @abc.abstractmethod
    def failure(self) -> tuple[int, int]:
        """The first failed completion: its status, or the negative errno of a failed post, and the vendor's code."""

    @property
    @abc.abstractmethod
    def reported(self) -> int:
        """How many completions the device has reported."""

    def door(self) -> Door | None:
        """The native door, where this implementation has one."""
        return None

    @abc.abstractmethod
    def break_it(self) -> None:
        """Put the queue pairs for data into the error state, as a fault of the device would. For tests."""

    @abc.abstractmethod
    def close(self) -> None:
        """Free the queue pairs; closing twice is allowed."""


class Adapter(abc.ABC):
    """An opened port."""

    mtu: int
    lid: int
    atomic: bool
    """Whether the device adds atomically."""

    @abc.abstractmethod
    def register(self, address: int, nbytes: int) -> Region:
        """Register memory of this process; `OSError` where the kernel refuses."""

    @abc.abstractmethod
    def register_dmabuf(self, fd: int, offset: int, nbytes: int, address: int) -> Region:
        """Register memory of another device, which peers then name by `address`; `OSError` as above."""

    @abc.abstractmethod
    def link(self) -> Link:
        """Fresh queue pairs; `OSError` where the device has not that much."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the device, whose regions and links are closed."""


def status_name(status: int) -> str:
    """A failed completion as libibverbs' documentation names it."""
    return _NAMES.get(status, f"completion status {status}")


_NAMES = {
    1: "local length error",
    2: "local queue pair operation error",
    4: "local protection error",
    5: "flushed: the queue pair is in the error state",
    6: "memory window bind error",
    7: "bad response",
    8: "local access error",
    9: "remote invalid request",
    10: "remote access error: the memory is not, or no longer, registered there",
    11: "remote operation error",
    12: "transport retry counter exceeded: the peer does not answer",
    13: "receiver-not-ready retry counter exceeded: the peer takes no messages",
    19: "fatal error of the device",
    20: "response timeout",
    21: "general error",
}
PEER_GONE = frozenset({12, 13, 20})
"""Statuses that say that nobody answers."""


def open_adapter(choice: Choice, settings: IbSettings) -> Adapter:
    """The adapter of the implementation that the settings name; `ImportError` or `OSError` where it does not open."""
    if settings.posting == "native":
        from hal_ib.by_native import NativeAdapter

        return NativeAdapter(choice, settings)
    from hal_ib.by_pyverbs import PyverbsAdapter

    return PyverbsAdapter(choice, settings)
