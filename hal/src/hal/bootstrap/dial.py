"""Opening a connection to the store: dial until a server answers, prove the secret both ways, join as a rank."""

from __future__ import annotations

import math
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hal.bootstrap import auth
from hal.bootstrap.address import is_loopback, parse_address
from hal.bootstrap.server import enable_keepalive
from hal.bootstrap.wire import (
    FrameReader,
    Limits,
    Op,
    Request,
    Response,
    Status,
    WireError,
    decode_response,
    encode_request,
)
from hal.interface.errors import StallTimeout, TransportError, UsageError

_PAUSE = 0.05
# a server answers at once; whoever is silent for this long is something else at a port that was a store's before
_ATTEMPT = 10.0


@dataclass(frozen=True)
class Target:
    """Where a store is and the secret for it. `published` ones may be out of date, so a refusal is not final."""

    address: str
    secret: str | None = field(repr=False)
    published: bool = False


class _NotYetError(Exception):
    """No store answers here so far; its text says why."""


def check_timeout(timeout: float) -> float:
    """The timeout itself; `UsageError` unless it is a number of seconds of at least 0."""
    if not (isinstance(timeout, (int, float)) and timeout >= 0 and math.isfinite(timeout)):
        raise UsageError(f"timeout is {timeout!r}: expected a number of seconds, 0 or more")
    return timeout


def wait_for(sock: socket.socket, event: int, deadline: float) -> bool:
    """Wait until a socket is readable (`POLLIN`) or writable (`POLLOUT`); False when the deadline passed."""
    poll = select.poll()
    poll.register(sock, event)
    remaining = deadline - time.monotonic()
    return bool(poll.poll(None if math.isinf(remaining) else max(0, math.ceil(remaining * 1000))))


def open_connection(
    locate: Callable[[], Target | None], rank: int, size: int, deadline: float, limits: Limits
) -> tuple[socket.socket, int, str]:
    """A non-blocking socket that joined the store as `rank`, the job's size, and the store's address.

    `size` 0 leaves the size to the server. `locate` is asked again before every attempt.
    """
    reason, address = "no address was published", None
    while True:
        target = locate()
        if target is not None:
            address = target.address
            try:
                sock, job_size = _attempt(target, rank, size, deadline, limits)
                return sock, job_size, address
            except _NotYetError as error:
                reason = str(error)
        if time.monotonic() + _PAUSE >= deadline:
            raise StallTimeout(
                f"no store answered{f' at {address}' if address else ''} in time: {reason}; "
                "is rank 0 (or the launcher) running, and is the address right?",
                rank=rank,
                operation="connect",
            )
        time.sleep(_PAUSE)


def _attempt(target: Target, rank: int, size: int, deadline: float, limits: Limits) -> tuple[socket.socket, int]:
    host, port = parse_address(target.address)
    if target.secret is None and not is_loopback(host):
        raise UsageError(
            f"the store at {target.address} is on the network, which needs the job's secret: set HAL_JOB_SECRET to the "
            "same random text (such as `openssl rand -hex 32` prints) for every rank"
        )
    soon = min(deadline, time.monotonic() + _ATTEMPT)
    try:
        sock = socket.create_connection((host, port), timeout=max(0.001, soon - time.monotonic()))
    except OSError as error:
        raise _NotYetError(str(error)) from None
    try:
        sock.setblocking(False)
        enable_keepalive(sock)
        _authenticate(sock, target, soon)
        return sock, _join(sock, rank, size, deadline, limits)
    except BaseException:
        sock.close()
        raise


def _authenticate(sock: socket.socket, target: Target, deadline: float) -> None:
    secret = (target.secret or "").encode()
    try:
        greeting = _receive_exactly(sock, auth.GREETING_SIZE, deadline)
        hello = auth.make_hello(secret, greeting)
        sock.send(hello)  # fits the empty buffer of a new socket
        proof = _receive_exactly(sock, auth.PROOF_SIZE, deadline)
    except (OSError, WireError) as error:
        raise _NotYetError(f"the connection was not answered as a store does: {error}") from None
    if not auth.proof_is_right(secret, greeting, hello, proof):
        if target.published:
            raise _NotYetError("another program has taken its port")
        raise TransportError(
            f"the store at {target.address} and this rank do not hold the same secret: HAL_JOB_SECRET must be the same "
            "for every rank of a job"
        )


def _join(sock: socket.socket, rank: int, size: int, deadline: float, limits: Limits) -> int:
    try:
        sock.send(encode_request(Request(Op.JOIN, 0, value=rank.to_bytes(4, "big") + size.to_bytes(4, "big"))))
        response = _receive_response(sock, deadline, limits)
    except TimeoutError:
        raise StallTimeout("the store did not answer in time", rank=rank, operation="connect") from None
    except (OSError, WireError) as error:
        raise _NotYetError(f"the store closed the connection: {error}") from None
    if response.status is Status.RETRY:
        raise _NotYetError(response.body.decode(errors="replace"))
    if response.status is not Status.OK:
        raise UsageError(response.body.decode(errors="replace"), rank=rank, operation="connect")
    return int.from_bytes(response.body, "big")


def _receive_response(sock: socket.socket, deadline: float, limits: Limits) -> Response:
    # exactly one frame is read: what follows it is for the store's reading thread
    head = _receive_exactly(sock, 4, deadline)
    length = int.from_bytes(head, "big")
    if length > limits.max_response(0):
        raise WireError(f"a first frame of {length} bytes")
    frames = FrameReader(length).feed(head + _receive_exactly(sock, length, deadline))
    return decode_response(frames[0])


def _receive_exactly(sock: socket.socket, count: int, deadline: float) -> bytes:
    data = b""
    while len(data) < count:
        if not wait_for(sock, select.POLLIN, deadline):
            raise TimeoutError("it is silent")
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionError("it was closed")
        data += piece
    return data
