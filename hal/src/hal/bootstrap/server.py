"""The store's server: one thread that owns the listening socket, every connection and the `Table` behind them."""

from __future__ import annotations

import contextlib
import logging
import queue
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

from hal.bootstrap import auth
from hal.bootstrap.address import format_address, is_loopback
from hal.bootstrap.table import Table
from hal.bootstrap.wire import (
    FrameReader,
    Limits,
    Op,
    Request,
    Response,
    Status,
    WireError,
    decode_request,
    encode_response,
)
from hal.interface.errors import TransportError, UsageError

_log = logging.getLogger("hal.bootstrap.server")
_SWEEP = 0.05  # seconds between looks at the deadlines, while there are any
_CHUNK = 1 << 18
# a client that does not read its responses is not read from either
_MAX_UNSENT = 64 << 20


class _Connection:
    """One client's socket and how far it has come: greeted, authenticated, joined as `rank`, or done."""

    def __init__(self, sock: socket.socket, peer: str, deadline: float) -> None:
        self.sock = sock
        self.peer = peer
        self.deadline = deadline  # to join
        self.greeting = auth.make_greeting()
        self.out = bytearray(self.greeting)
        self.hello = bytearray()
        self.reader: FrameReader | None = None  # set once authenticated
        self.rank: int | None = None
        self.said_goodbye = False
        self.close_when_sent = False
        self.events = selectors.EVENT_READ


class StoreServer:
    """Serves the store of a job of `size` ranks in a daemon thread, between `start` (or `with`) and `close`.

    It listens on `host` and `port` (0: any free one); `address` is where. Without a `secret` only loopback addresses
    are allowed. `rejoin` says whether a rank that said goodbye may connect again; without it such a rank is told to
    look for the job's next store. Only a connection that has proven the secret is listened to; one that breaks the
    protocol is closed, with the reason in the log, and its rank counts as dead.
    """

    def __init__(
        self,
        size: int,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        secret: str | None = None,
        limits: Limits | None = None,
        rejoin: bool = True,
    ) -> None:
        if size < 1:
            raise UsageError(f"size is {size}: expected 1 or more")
        if secret is None and not is_loopback(host):
            raise UsageError(
                f"a store on {host or 'all interfaces'} needs the job's secret: set HAL_JOB_SECRET to the same random "
                "text (such as `openssl rand -hex 32` prints) for every rank; without one it only serves 127.0.0.1"
            )
        self.size = size
        self._host = host
        self._port = port
        self.secret = secret
        self._key = (secret or "").encode()
        self._limits = limits or Limits()
        self._table = Table(size, self._limits, self._queue_response, rejoin=rejoin)
        self._pending: dict[_Connection, None] = {}  # have not joined; oldest first
        self._joined: dict[int, _Connection] = {}
        self._connections: set[_Connection] = set()
        self._unsent: set[_Connection] = set()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._close_at: float | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    # --- called from any thread ---

    def start(self) -> StoreServer:
        """Bind and serve; `TransportError` where the address cannot be had."""
        if self._thread is not None or self._closed:
            raise UsageError("a StoreServer is started once")
        self._listener = _listen(self._host, self._port)
        self._bound_port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wakened, selectors.EVENT_READ, self._run_commands)
        self._thread = threading.Thread(target=self._serve, name="hal-store-server", daemon=True)
        self._thread.start()
        return self

    @property
    def address(self) -> str:
        """`host:port` for clients on this host; where all interfaces are bound, by loopback."""
        return format_address(self._host or "127.0.0.1", self._bound_port)

    def mark_ended(self, rank: int, reason: str) -> None:
        """Say that a rank's process ended: unless it said goodbye before, it died of `reason`."""
        self._command(lambda: self._end(rank, reason))

    def close(self, *, linger: float = 0.0) -> None:
        """Stop serving, after up to `linger` seconds in which connected ranks may still finish. Idempotent."""
        if self._thread is None or self._closed:
            return
        self._closed = True

        def begin_closing() -> None:
            self._close_at = time.monotonic() + linger
            self._selector.unregister(self._listener)
            self._listener.close()

        self._command(begin_closing)
        self._thread.join(linger + 30.0)
        if self._thread.is_alive():
            raise TransportError("the store's server thread did not stop")
        self._waker.close()

    def __enter__(self) -> StoreServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _command(self, command: Callable[[], None]) -> None:
        self._commands.put(command)
        with contextlib.suppress(BlockingIOError, OSError):  # full: it wakes anyway; closed: nobody is left to wake
            self._waker.send(b"\0")

    # --- the server's thread ---

    def _serve(self) -> None:
        try:
            while not self._finished():
                timed = self._pending or self._table.waiting or self._close_at is not None
                for key, events in self._selector.select(_SWEEP if timed else None):
                    if isinstance(key.data, _Connection):
                        self._serve_connection(key.data, events)
                    else:
                        key.data()
                now = time.monotonic()
                for connection in [c for c in self._pending if c.deadline <= now]:
                    self._drop(connection, "it did not prove the secret and join in time")
                self._table.expire(now)
                self._send_unsent()
        finally:
            for connection in self._connections:
                connection.sock.close()
            self._listener.close()
            self._wakened.close()
            self._selector.close()

    def _finished(self) -> bool:
        if self._close_at is None:
            return False
        # ranks that have been answered and are only about to hang up are not worth waiting for
        return not self._joined or time.monotonic() >= self._close_at

    def _run_commands(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakened.recv(4096)
        with contextlib.suppress(queue.Empty):
            while True:
                self._commands.get_nowait()()

    def _end(self, rank: int, reason: str) -> None:
        # its last words may still lie in the socket: a goodbye, or what others wait for
        connection = self._joined.get(rank)
        while connection is not None and connection in self._connections and not connection.said_goodbye:
            if not self._receive(connection):
                break
        self._table.end(rank, reason)
        if connection is not None:
            self._drop(connection, reason)

    def _accept(self) -> None:
        try:
            sock, peer = self._listener.accept()
        except OSError as error:
            # out of descriptors, most likely: make room, or the listener stays readable and this thread spins
            _log.warning("a connection could not be accepted: %s", error)
            self._drop_oldest_pending("its descriptor is needed")
            time.sleep(_SWEEP)
            return
        if len(self._pending) >= self._limits.max_pending:
            self._drop_oldest_pending("too many connections have not proven the secret")
        sock.setblocking(False)
        enable_keepalive(sock)
        deadline = time.monotonic() + self._limits.handshake_timeout
        connection = _Connection(sock, format_address(peer[0], peer[1]), deadline)
        self._connections.add(connection)
        self._pending[connection] = None
        self._selector.register(sock, connection.events, connection)
        self._unsent.add(connection)

    def _drop_oldest_pending(self, reason: str) -> None:
        oldest = next(iter(self._pending), None)
        if oldest is not None:
            self._drop(oldest, reason)

    def _serve_connection(self, connection: _Connection, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._unsent.add(connection)
        if events & selectors.EVENT_READ and connection in self._connections:
            self._receive(connection)

    def _receive(self, connection: _Connection) -> bool:
        """Read once and act on it; whether there may be more to read."""
        try:
            data = connection.sock.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            self._drop(connection, f"its connection to the store broke: {error}")
            return False
        if not data:
            self._drop(connection, "its connection to the store was lost")
            return False
        try:
            self._act_on(connection, data)
        except WireError as error:
            self._drop(connection, f"it sent a malformed message: {error}")
        except Exception:  # one connection's bad luck must not end the thread that serves all others
            _log.exception("serving %s failed", connection.peer)
            self._drop(connection, "its message could not be served")
        return connection in self._connections

    def _act_on(self, connection: _Connection, data: bytes) -> None:
        if connection.close_when_sent:
            return
        if connection.reader is None:
            connection.hello += data
            if len(connection.hello) > auth.HELLO_SIZE:
                raise WireError("it spoke before it was authenticated")
            if len(connection.hello) == auth.HELLO_SIZE:
                self._authenticate(connection)
            return
        for payload in connection.reader.feed(data):
            request = decode_request(payload, size=self.size, limits=self._limits)
            if connection.said_goodbye:
                raise WireError("it spoke after its goodbye")
            self._act_on_request(connection, request)

    def _authenticate(self, connection: _Connection) -> None:
        hello = bytes(connection.hello)
        if auth.hello_is_right(self._key, connection.greeting, hello):
            connection.reader = FrameReader(self._limits.max_request(self.size))
            connection.out += auth.make_proof(self._key, connection.greeting, hello)
        else:
            _log.warning("refused %s: it does not hold the job's secret", connection.peer)
            connection.out += auth.NO_PROOF
            connection.close_when_sent = True
        self._unsent.add(connection)

    def _act_on_request(self, connection: _Connection, request: Request) -> None:
        if connection.rank is None:
            if request.op is not Op.JOIN:
                raise WireError("its first request is not to join")
            self._join(connection, request)
        elif request.op is Op.GOODBYE:
            connection.said_goodbye = True
            self._queue_response(connection.rank, Response(Status.OK, request.id))
            del self._joined[connection.rank]
            self._table.leave(connection.rank)
        else:
            self._table.handle(connection.rank, request, time.monotonic())

    def _join(self, connection: _Connection, request: Request) -> None:
        if len(request.value) != 8:
            raise WireError("its wish to join is not 8 bytes long")
        rank, size = int.from_bytes(request.value[:4], "big"), int.from_bytes(request.value[4:], "big")
        if self._close_at is not None:
            status, text = Status.RETRY, "the store is closing"
        elif size not in (0, self.size):
            status, text = Status.USAGE, f"rank {rank} says that the job has {size} ranks, the store says {self.size}"
        else:
            status, text = self._table.join(rank)
        del self._pending[connection]
        if status is Status.OK:
            connection.rank = rank
            self._joined[rank] = connection
            self._queue_response(rank, Response(status, request.id, self.size.to_bytes(4, "big")))
            self._table.tell_deaths(rank)
        else:
            connection.out += encode_response(Response(status, request.id, text.encode()))
            connection.close_when_sent = True
            self._unsent.add(connection)

    def _queue_response(self, rank: int, response: Response) -> None:
        connection = self._joined.get(rank)
        if connection is not None:
            connection.out += encode_response(response)
            self._unsent.add(connection)

    def _send_unsent(self) -> None:
        # dropping one connection may queue news for others, hence until nothing is left
        while self._unsent:
            connection = self._unsent.pop()
            if connection in self._connections:
                self._send(connection)

    def _send(self, connection: _Connection) -> None:
        try:
            while connection.out:
                sent = connection.sock.send(memoryview(connection.out)[:_CHUNK])
                del connection.out[:sent]
        except BlockingIOError:
            pass
        except OSError as error:
            self._drop(connection, f"its connection to the store broke: {error}")
            return
        if connection.close_when_sent and not connection.out:
            self._drop(connection, "it was refused")
            return
        events = selectors.EVENT_WRITE if connection.out else 0
        if len(connection.out) < _MAX_UNSENT:
            events |= selectors.EVENT_READ
        if events != connection.events:
            connection.events = events
            self._selector.modify(connection.sock, events, connection)

    def _drop(self, connection: _Connection, reason: str) -> None:
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self._pending.pop(connection, None)
        self._selector.unregister(connection.sock)
        connection.sock.close()
        if connection.rank is not None and not connection.said_goodbye:
            _log.info("rank %d (%s) died: %s", connection.rank, connection.peer, reason)
            del self._joined[connection.rank]
            self._table.die(connection.rank, reason)
        elif connection.rank is None:
            _log.info("dropped %s: %s", connection.peer, reason)


def _listen(host: str, port: int) -> socket.socket:
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        where = format_address(host or "*", port)
        raise TransportError(
            f"the store cannot listen on {where}: {error}; set HAL_STORE=host:port to a free port of rank 0's host"
        ) from error


def enable_keepalive(sock: socket.socket) -> None:
    """Notice within about half a minute that the other side's machine is gone, and send small messages at once."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def new_secret() -> str:
    """A fresh secret for one job."""
    return secrets.token_hex(32)
