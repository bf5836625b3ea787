"""The store's messages: length-bounded frames with a fixed binary layout.

A frame is a 32-bit length and that many bytes. All integers are big-endian. A request is

    op u8 | id u32 | timeout in ms u32 | name length u16 | member count u32 | name | members u32 each | value

and a response `status u8 | id u32 | body`. Whatever does not fit this exactly is a `WireError`, for which the
connection is closed. No object is ever built from what a message says, only bytes, text and integers.
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from hal.interface.errors import UsageError

_LENGTH = struct.Struct("!I")
_REQUEST = struct.Struct("!BIIHI")
_RESPONSE = struct.Struct("!BI")
_RANK = struct.Struct("!I")
# room for what the client puts before the caller's name, see Store.all_gather
NAME_OVERHEAD = 32
MAX_TIMEOUT = (2**32 - 1) / 1000


class WireError(Exception):
    """A message that does not follow the protocol. Never leaves this package: the connection is closed for it."""


@dataclass(frozen=True)
class Limits:
    """Bounds on what a store accepts; client and server must use the same.

    `max_key` and `max_value` are in bytes for one key (or name) and one value, `max_gather` in bytes for all values of
    one `all_gather`. `handshake_timeout` (seconds) and `max_pending` bound connections that have not proven to hold
    the secret: when there are too many, the oldest is dropped.
    """

    max_key: int = 1024
    max_value: int = 16 << 20
    max_gather: int = 256 << 20
    handshake_timeout: float = 10.0
    max_pending: int = 256

    def max_request(self, size: int) -> int:
        """The longest frame a client of a job of `size` ranks may send."""
        return _REQUEST.size + self.max_key + NAME_OVERHEAD + _RANK.size * size + self.max_value

    def max_response(self, size: int) -> int:
        """The longest frame the server of a job of `size` ranks may send."""
        return _RESPONSE.size + max(self.max_value, self.max_gather + _LENGTH.size * size) + 65536


class Op(enum.IntEnum):
    """What a request asks for."""

    JOIN = 1
    SET = 2
    GET = 3
    ADD = 4
    DELETE = 5
    DELETE_PREFIX = 6
    GATHER = 7
    GOODBYE = 8
    SURVIVORS = 9


class Status(enum.IntEnum):
    """How a request ended, or `DEAD`: a rank died, sent to everybody unasked."""

    OK = 0
    STALL = 1
    PEER = 2
    USAGE = 3
    RETRY = 4
    DEAD = 5


@dataclass(frozen=True)
class Request:
    """One request.

    `members` are the ranks of a gather (`SURVIVORS` is one too), or the rank that a `GET` expects to set the key.
    """

    op: Op
    id: int
    timeout: float = 0.0
    name: str = ""
    members: tuple[int, ...] = ()
    value: bytes = b""


@dataclass(frozen=True)
class Response:
    """One response; `body` is the result, or the text of the error (after the rank concerned, see `rank_body`)."""

    status: Status
    id: int
    body: bytes = b""


_GATHERS = {Op.GATHER, Op.SURVIVORS}
_NAMED = {Op.SET, Op.GET, Op.ADD, Op.DELETE, Op.DELETE_PREFIX, *_GATHERS}
_VALUED = {Op.SET, Op.ADD, Op.JOIN, *_GATHERS}
_MEMBERED = {Op.GET, *_GATHERS}


def frame(payload: bytes) -> bytes:
    """The payload with its length in front."""
    return _LENGTH.pack(len(payload)) + payload


def encode_request(request: Request) -> bytes:
    """The frame of a request."""
    name = request.name.encode()
    milliseconds = math.ceil(min(max(request.timeout, 0.0), MAX_TIMEOUT) * 1000)
    head = _REQUEST.pack(request.op, request.id, milliseconds, len(name), len(request.members))
    return frame(b"".join((head, name, struct.pack(f"!{len(request.members)}I", *request.members), request.value)))


def decode_request(payload: bytes, *, size: int, limits: Limits) -> Request:
    """The request in a frame's payload; `WireError` where it breaks a rule of the layout or a limit."""
    if len(payload) < _REQUEST.size:
        raise WireError(f"a request of {len(payload)} bytes is shorter than its header")
    code, ident, milliseconds, name_length, count = _REQUEST.unpack_from(payload)
    try:
        op = Op(code)
    except ValueError:
        raise WireError(f"unknown operation {code}") from None
    if name_length > limits.max_key + NAME_OVERHEAD or count > size:
        raise WireError(f"a name of {name_length} bytes or {count} members is beyond the limits")
    members_at = _REQUEST.size + name_length
    value_at = members_at + _RANK.size * count
    if value_at > len(payload) or len(payload) - value_at > limits.max_value:
        raise WireError("the lengths in the header do not fit the frame")
    try:
        name = payload[_REQUEST.size : members_at].decode()
    except UnicodeDecodeError:
        raise WireError("the name is not UTF-8") from None
    members = struct.unpack_from(f"!{count}I", payload, members_at)
    value = payload[value_at:]
    if bool(name) != (op in _NAMED) or (members and op not in _MEMBERED) or (value and op not in _VALUED):
        raise WireError(f"fields do not belong to operation {op.name}")
    if any(member >= size for member in members) or len(set(members)) != len(members):
        raise WireError(f"members {list(members)} are not distinct ranks below {size}")
    if (op in _GATHERS and not members) or (op is Op.GET and len(members) > 1):
        raise WireError(f"operation {op.name} cannot have {len(members)} members")
    return Request(op, ident, milliseconds / 1000, name, members, value)


def encode_response(response: Response) -> bytes:
    """The frame of a response."""
    return frame(_RESPONSE.pack(response.status, response.id) + response.body)


def decode_response(payload: bytes) -> Response:
    """The response in a frame's payload; `WireError` where it is malformed."""
    if len(payload) < _RESPONSE.size:
        raise WireError(f"a response of {len(payload)} bytes is shorter than its header")
    code, ident = _RESPONSE.unpack_from(payload)
    try:
        return Response(Status(code), ident, payload[_RESPONSE.size :])
    except ValueError:
        raise WireError(f"unknown status {code}") from None


def rank_body(rank: int, text: str) -> bytes:
    """The body of a response that concerns one rank."""
    return _RANK.pack(rank) + text.encode()


def split_rank_body(body: bytes) -> tuple[int, str]:
    """The rank and text of `rank_body`."""
    if len(body) < _RANK.size:
        raise WireError("a response lacks the rank it concerns")
    return _RANK.unpack_from(body)[0], body[_RANK.size :].decode(errors="replace")


def pack_values(values: Sequence[bytes]) -> bytes:
    """Several values in one body, each after its length."""
    return b"".join(frame(value) for value in values)


def unpack_values(body: bytes) -> list[bytes]:
    """The values of `pack_values`."""
    values, at = [], 0
    while at < len(body):
        if at + _LENGTH.size > len(body):
            raise WireError("a list of values ends within a length")
        (length,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        if at + length > len(body):
            raise WireError("a list of values ends within a value")
        values.append(body[at : at + length])
        at += length
    return values


class FrameReader:
    """Cuts a byte stream into frames' payloads of at most `limit` bytes; keeps no more than one incomplete frame."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that `data` completes, in order; `WireError` as soon as a length is beyond the limit."""
        self._buffer += data
        payloads, at = [], 0
        while len(self._buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, at)
            if length > self._limit:
                raise WireError(f"a frame of {length} bytes is longer than the {self._limit} allowed")
            end = at + _LENGTH.size + length
            if end > len(self._buffer):
                break
            payloads.append(bytes(self._buffer[at + _LENGTH.size : end]))
            at = end
        del self._buffer[:at]
        return payloads


def check_key(key: str, limits: Limits, what: str) -> None:
    """Raise `UsageError` for a key or name that is empty, too long or no text."""
    if not isinstance(key, str) or not key:
        raise UsageError(f"{what} is {key!r}: expected a text that is not empty")
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise UsageError(f"{what} is {key!r}: it cannot be written as UTF-8") from None
    if length > limits.max_key:
        raise UsageError(f"{what} {key[:40]!r}… is {length} bytes long: at most {limits.max_key} are allowed")
