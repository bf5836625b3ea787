"""The store's client: a rank's connection to the key-value server of its job."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType

from hal.bootstrap.address import parse_address
from hal.bootstrap.dial import Target, check_timeout, open_connection, wait_for
from hal.bootstrap.wire import (
    FrameReader,
    Limits,
    Op,
    Request,
    Response,
    Status,
    WireError,
    check_key,
    decode_response,
    encode_request,
    split_rank_body,
    unpack_values,
)
from hal.interface.errors import HalError, PeerFailure, StallTimeout, TransportError, UsageError

# the server watches the deadlines, because it knows who is missing; the client waits this much longer for its report
_GRACE = 5.0
_GOODBYE_TIMEOUT = 5.0


class Store:
    """One rank's connection to its job's store: keys, barriers, small gathers, and news of ranks that died.

    Made by `hal.bootstrap.connect` or `Store.connect`. Any number of threads may use one store at the same time; a
    waiting call does not hold up the others. Every operation takes a `timeout` in seconds (default: the store's) and
    raises `StallTimeout` when it passes, `PeerFailure` when a rank it needs died or left, `TransportError` when the
    connection to the store was lost, and `UsageError` for arguments that cannot be used or after `close`.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        rank: int,
        size: int,
        address: str,
        timeout: float,
        limits: Limits,
        host_rank: int | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.rank = rank
        self.size = size
        self.address = address
        self.timeout = timeout
        self._sock = sock
        self._limits = limits
        self._host_rank = host_rank
        self._on_close = on_close
        self._lock = threading.Lock()  # of the three below
        self._waiting: dict[int, Future[Response]] = {}
        self._dead: dict[int, str] = {}
        self._lost: str | None = None
        self._closed = False
        self._pid = os.getpid()
        self._send_lock = threading.Lock()
        self._ids = itertools.count(1)
        self._reader = threading.Thread(target=self._read, name=f"hal-store-rank-{rank}", daemon=True)
        self._reader.start()

    @classmethod
    def connect(
        cls,
        address: str,
        *,
        rank: int,
        secret: str | None = None,
        size: int | None = None,
        timeout: float = 60.0,
        limits: Limits | None = None,
    ) -> Store:
        """Connect to the server at `address` (`host:port`) as `rank`, waiting up to `timeout` seconds for it.

        `timeout` is also the default of every later operation. `size`, where given, must be the server's. Without a
        `secret` only loopback addresses are allowed. `StallTimeout` where no server answers in time, `TransportError`
        where it holds another secret, `UsageError` where the job has no place for this rank.
        """
        parse_address(address)
        target = Target(address, secret)
        return cls.find(lambda: target, rank=rank, size=size, timeout=timeout, limits=limits)

    @classmethod
    def find(
        cls,
        locate: Callable[[], Target | None],
        *,
        rank: int,
        size: int | None = None,
        timeout: float = 60.0,
        limits: Limits | None = None,
        host_rank: int | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> Store:
        """Like `connect`, for a server whose address is still to be published: `locate` is asked until one answers.

        `host_rank` is the rank whose process serves the store, if any: when the connection is lost, it is what died.
        `on_close` is called once, at the end of `close`.
        """
        check_timeout(timeout)
        if not 0 <= rank < 2**32:
            raise UsageError(f"rank is {rank}: expected 0 or more")
        limits = limits or Limits()
        sock, found_size, address = open_connection(locate, rank, size or 0, time.monotonic() + timeout, limits)
        return cls(
            sock,
            rank=rank,
            size=found_size,
            address=address,
            timeout=timeout,
            limits=limits,
            host_rank=host_rank,
            on_close=on_close,
        )

    # --- operations ---

    def set(self, key: str, value: bytes, *, timeout: float | None = None) -> None:
        """Set a key, and so end every `get` that waits for it."""
        self._check_value(value)
        self._call(Op.SET, key, timeout, f"set {key!r}", value=bytes(value))

    def get(self, key: str, timeout: float | None = None, *, source: int | None = None) -> bytes:
        """The key's value, waiting until it is set.

        With `source`, the rank that is to set it, the wait ends with `PeerFailure` at once if that rank dies.
        """
        if source is not None:
            self._check_rank(source, "source")
        return self._call(Op.GET, key, timeout, f"get {key!r}", members=() if source is None else (source,))

    def add(self, key: str, amount: int, *, timeout: float | None = None) -> int:
        """Add to a key (0 if not set) in one step and return the sum; its value is then the sum in decimal digits.

        `UsageError` where the key holds no number, or the sum would leave the range of 64 bits.
        """
        return int(self._call(Op.ADD, key, timeout, f"add {key!r}", value=str(int(amount)).encode()))

    def delete(self, key: str, *, timeout: float | None = None) -> bool:
        """Delete a key; whether it was set."""
        return self._call(Op.DELETE, key, timeout, f"delete {key!r}") == b"1"

    def delete_prefix(self, prefix: str, *, timeout: float | None = None) -> int:
        """Delete all keys that start with `prefix`; how many there were."""
        return int(self._call(Op.DELETE_PREFIX, prefix, timeout, f"delete_prefix {prefix!r}"))

    def barrier(self, name: str, members: Sequence[int], timeout: float | None = None) -> None:
        """Wait until every one of `members` has called `barrier` with this name and the same members."""
        self._gather("barrier", name, b"", members, timeout)

    def all_gather(self, name: str, value: bytes, members: Sequence[int], timeout: float | None = None) -> list[bytes]:
        """Exchange one value for each of `members`, which all call this with the same name and members.

        Returns the values in the order of `members`. The name can be used again afterwards. When one member's timeout
        passes, every member raises the same `StallTimeout`, which names the missing ranks.
        """
        self._check_value(value)
        return unpack_values(self._gather("all_gather", name, bytes(value), members, timeout))

    def survivors(
        self, name: str, members: Sequence[int], value: bytes = b"", timeout: float | None = None
    ) -> dict[int, bytes]:
        """Exchange one value for each of `members` that is still there, and agree on who that is.

        Like `all_gather`, but a member that died or said goodbye has no part in it, whenever that happens before all
        others have come. Returns the values by rank, in the order of `members`; the same on every rank.
        """
        self._check_value(value)
        body = self._gather("survivors", name, bytes(value), members, timeout, Op.SURVIVORS)
        # those that are there have a byte before their value
        return {member: said[1:] for member, said in zip(members, unpack_values(body), strict=True) if said}

    def dead_ranks(self) -> list[int]:
        """The ranks known to have died, in ascending order. Costs no message: the server tells of each at once."""
        with self._lock:
            return sorted(self._dead)

    def close(self) -> None:
        """Say goodbye, so that this rank does not count as dead, and disconnect. Idempotent.

        The rank whose process serves the store waits up to ten seconds for the others to say goodbye as well.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            lost = self._lost
        if os.getpid() != self._pid:
            # the connection is the parent's: a child of a fork only lets go of its copy of the descriptor
            self._sock.close()
            return
        try:
            if lost is None:
                with contextlib.suppress(HalError):
                    self._exchange(Request(Op.GOODBYE, next(self._ids)), _GOODBYE_TIMEOUT, "close")
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            self._reader.join(_GOODBYE_TIMEOUT)
            self._sock.close()
        finally:
            if self._on_close is not None:
                self._on_close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- a call: one request, one response ---

    def _gather(
        self,
        kind: str,
        name: str,
        value: bytes,
        members: Sequence[int],
        timeout: float | None,
        op: Op = Op.GATHER,
    ) -> bytes:
        check_key(name, self._limits, "name")
        for member in members:
            self._check_rank(member, "a member")
        if self.rank not in members or len(set(members)) != len(members):
            raise UsageError(
                f"{kind} {name!r}: members are {list(members)}: expected distinct ranks, this rank among them",
                rank=self.rank,
            )
        # the kind is part of the name, so that a barrier and an all_gather of one name do not meet
        wire_name = f"{kind} {name}"
        return self._request(op, wire_name, timeout, f"{kind} {name!r}", value=value, members=tuple(members))

    def _call(
        self,
        op: Op,
        key: str,
        timeout: float | None,
        operation: str,
        *,
        value: bytes = b"",
        members: tuple[int, ...] = (),
    ) -> bytes:
        check_key(key, self._limits, "key")
        return self._request(op, key, timeout, operation, value=value, members=members)

    def _request(
        self, op: Op, name: str, timeout: float | None, operation: str, *, value: bytes, members: tuple[int, ...]
    ) -> bytes:
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        with self._lock:
            if self._closed:
                raise UsageError("the store is closed", rank=self.rank, operation=operation)
        response = self._exchange(Request(op, next(self._ids), seconds, name, members, value), seconds, operation)
        if response.status is Status.OK:
            return response.body
        raise self._error(response, operation)

    def _exchange(self, request: Request, timeout: float, operation: str) -> Response:
        deadline = time.monotonic() + timeout + _GRACE
        future: Future[Response] = Future()
        with self._lock:
            if self._lost is not None:
                raise self._lost_error(operation)
            self._waiting[request.id] = future
        try:
            self._send(encode_request(request), deadline)
            return future.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise StallTimeout(
                f"the store at {self.address} does not answer within {timeout:g} s", rank=self.rank, operation=operation
            ) from None
        except OSError:
            raise self._lost_error(operation) from None
        finally:
            with self._lock:
                self._waiting.pop(request.id, None)

    def _send(self, data: bytes, deadline: float) -> None:
        if not self._send_lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        try:
            view = memoryview(data)
            while view:
                try:
                    view = view[self._sock.send(view) :]
                except BlockingIOError:
                    if not wait_for(self._sock, select.POLLOUT, deadline):
                        # half a message is on its way: nothing sensible can follow it on this connection
                        self._lose(f"the store at {self.address} stopped reading")
                        raise TimeoutError from None
        finally:
            self._send_lock.release()

    def _error(self, response: Response, operation: str) -> HalError:
        if response.status is Status.PEER:
            peer, text = split_rank_body(response.body)
            return PeerFailure(text, rank=self.rank, peer=peer, operation=operation)
        text = response.body.decode(errors="replace")
        if response.status is Status.STALL:
            return StallTimeout(text, rank=self.rank, operation=operation)
        return UsageError(text, rank=self.rank, operation=operation)

    def _lost_error(self, operation: str) -> HalError:
        if self._closed:
            return UsageError("the store is closed", rank=self.rank, operation=operation)
        text = self._lost or f"the connection to the store at {self.address} was lost"
        if self._host_rank is not None and self._host_rank != self.rank:
            text = f"rank {self._host_rank}, which serves the store, died or left: {text}"
            return PeerFailure(text, rank=self.rank, peer=self._host_rank, operation=operation)
        return TransportError(text, rank=self.rank, operation=operation)

    # --- the reading thread ---

    def _read(self) -> None:
        frames = FrameReader(self._limits.max_response(self.size))
        reason = f"the connection to the store at {self.address} was lost"
        try:
            while wait_for(self._sock, select.POLLIN, math.inf):
                data = self._sock.recv(1 << 18)
                if not data:
                    break
                for payload in frames.feed(data):
                    self._receive(decode_response(payload))
        except OSError as error:
            reason = f"{reason}: {error}"
        except WireError as error:
            reason = f"the store at {self.address} sent a malformed message: {error}"
        self._lose(reason)

    def _receive(self, response: Response) -> None:
        if response.status is Status.DEAD:
            rank, reason = split_rank_body(response.body)
            with self._lock:
                self._dead[rank] = reason
            return
        with self._lock:
            # absent where the caller was interrupted or gave up
            future = self._waiting.pop(response.id, None)
        if future is not None:
            future.set_result(response)

    def _lose(self, reason: str) -> None:
        with self._lock:
            if self._lost is None:
                self._lost = reason
            waiting, self._waiting = self._waiting, {}
            if self._host_rank is not None and self._host_rank != self.rank and not self._closed:
                self._dead[self._host_rank] = reason
        for future in waiting.values():
            future.set_exception(ConnectionError(reason))

    # --- arguments ---

    def _check_rank(self, rank: int, what: str) -> None:
        if not 0 <= rank < self.size:
            raise UsageError(f"{what} is {rank}: expected a rank of 0 to {self.size - 1}", rank=self.rank)

    def _check_value(self, value: bytes) -> None:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise UsageError(f"a value is bytes, not {type(value).__name__}", rank=self.rank)
        if len(value) > self._limits.max_value:
            raise UsageError(
                f"a value of {len(value)} bytes is too long: at most {self._limits.max_value} are allowed",
                rank=self.rank,
            )
