"""The Transport facet: reaching memory that cannot be mapped, over a network.

Order: what is posted on one connection takes effect in the order of posting, so that a `put` followed by an
`atomic_add` is a message followed by its signal. Nothing is ordered between connections.
"""

from __future__ import annotations

import abc

from hal.interface.capability import Capability
from hal.interface.device import Memory
from hal.interface.errors import NotSupported


class Registration(abc.ABC):
    """Memory that peers may reach. The memory must outlive it."""

    @property
    @abc.abstractmethod
    def key(self) -> bytes:
        """What a peer needs to reach it; send it to them by any means."""

    @property
    def handle(self) -> int:
        """The number that stands for it on the native door (capability NATIVE_POSTING)."""
        raise NotSupported("this transport has no native door (capability native_posting)")

    @abc.abstractmethod
    def close(self) -> None:
        """Withdraw it. Operations of peers in flight then fail. Closing twice is allowed."""


class Connection(abc.ABC):
    """A connection to one peer. All methods but `flush` return at once; local buffers are busy until the next flush."""

    @abc.abstractmethod
    def put(self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int) -> None:
        """Write local bytes to the peer's memory. Maps to an RDMA WRITE. Zero bytes are allowed."""

    @abc.abstractmethod
    def get(self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int) -> None:
        """Read the peer's memory into local bytes (capability GET). Maps to an RDMA READ."""

    @abc.abstractmethod
    def atomic_add(self, key: bytes, remote_offset: int, value: int) -> None:
        """Add to a 64-bit counter of the peer (capability ATOMIC_ADD); it is aligned to 8 bytes."""

    @abc.abstractmethod
    def flush(self, timeout: float) -> None:
        """Return when everything posted is complete: local buffers may be reused and the peer has the data.

        `StallTimeout` after `timeout` seconds, `TransportError` or `PeerFailure` where an operation failed; the
        connection cannot be used after either.
        """

    def resolve(self, key: bytes) -> int:
        """The number that stands for a peer's key on the native door of this connection (capability NATIVE_POSTING).

        `UsageError` for bytes that are no key of this transport.
        """
        raise NotSupported("this transport has no native door (capability native_posting)")

    def native(self) -> int:
        """The address of this connection's function table (capability NATIVE_POSTING).

        It is a `hal_connection` as `hal/native/transport.h` declares it, valid until `close`.
        """
        raise NotSupported("this transport has no native door (capability native_posting)")

    @abc.abstractmethod
    def close(self) -> None:
        """Drop the connection. Closing twice is allowed."""


class Transport(abc.ABC):
    """A network adapter or protocol, opened by a plug-in's `hal_open_transport`. Threads may share it."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> frozenset[Capability]:
        """What this transport can do beyond the required primitives; does not change."""

    @abc.abstractmethod
    def endpoint(self) -> bytes:
        """A fresh endpoint for one peer, as bytes for that peer's `connect`."""

    @abc.abstractmethod
    def connect(self, own: bytes, peer: bytes, timeout: float) -> Connection:
        """Connect an own endpoint with a peer's; both sides call it. `StallTimeout` after `timeout` seconds."""

    @abc.abstractmethod
    def register(self, memory: Memory) -> Registration:
        """Let peers reach `memory`: that of a device, or ordinary memory of this process (its `device` is None)."""

    @abc.abstractmethod
    def close(self) -> None:
        """Drop all connections and registrations. Closing twice is allowed."""
