"""What peers give each other as bytes: endpoints, and the keys of registered memory. They are data from outside."""

from __future__ import annotations

import struct

import attrs

from hal.interface.errors import UsageError

_KEY = struct.Struct("<4sIQQ")
_KEY_MARK = b"HIBk"
_ENDPOINT = struct.Struct("<4sB16sHBIB")
_ENDPOINT_MARK = b"HIBe"
_KINDS = ("InfiniBand", "RoCE v1", "RoCE v2")
_MOST_QUEUES = 65
_NUMBER = 1 << 24  # queue pairs and packets are numbered in 24 bits


@attrs.frozen
class Key:
    """Registered memory of a peer."""

    rkey: int
    address: int
    nbytes: int

    def pack(self) -> bytes:
        """As bytes."""
        return _KEY.pack(_KEY_MARK, self.rkey, self.address, self.nbytes)

    @classmethod
    def unpack(cls, data: bytes) -> Key:
        """From bytes; `UsageError` where they are no key."""
        if len(data) != _KEY.size or not data.startswith(_KEY_MARK):
            raise UsageError(f"these {len(data)} bytes are no key of memory that was registered with ib")
        _, rkey, address, nbytes = _KEY.unpack(data)
        if address + nbytes > 2**64:
            raise UsageError("this key names memory beyond the end of the address space")
        return cls(rkey, address, nbytes)


@attrs.frozen
class Endpoint:
    """How a peer is reached: kind of network, GID, LID, MTU (1 to 5, for 256 to 4096), and its queue pairs.

    `numbers` begins with the queue pair that finds out whether the peer is there; `psn` numbers the first packet.
    """

    kind: str
    gid: bytes
    lid: int
    mtu: int
    psn: int
    numbers: tuple[int, ...]

    def pack(self) -> bytes:
        """As bytes."""
        head = _ENDPOINT.pack(
            _ENDPOINT_MARK, _KINDS.index(self.kind), self.gid, self.lid, self.mtu, self.psn, len(self.numbers)
        )
        return head + struct.pack(f"<{len(self.numbers)}I", *self.numbers)

    @classmethod
    def unpack(cls, data: bytes) -> Endpoint:
        """From bytes; `UsageError` where they are no endpoint."""
        wrong = UsageError(f"these {len(data)} bytes are no endpoint of ib")
        if len(data) < _ENDPOINT.size or not data.startswith(_ENDPOINT_MARK):
            raise wrong
        _, kind, gid, lid, mtu, psn, count = _ENDPOINT.unpack_from(data)
        if kind >= len(_KINDS) or not 1 <= mtu <= 5 or psn >= _NUMBER or not 2 <= count <= _MOST_QUEUES:
            raise wrong
        if len(data) != _ENDPOINT.size + 4 * count:
            raise wrong
        numbers = struct.unpack_from(f"<{count}I", data, _ENDPOINT.size)
        if any(number >= _NUMBER for number in numbers):
            raise wrong
        return cls(_KINDS[kind], gid, lid, mtu, psn, numbers)
