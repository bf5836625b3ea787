"""The TCP transport: endpoints, the handshake, and registrations. Data goes through the native part alone.

An endpoint holds a random secret. It travels to the peer through the group's store, which only holders of the job's
secret can read, and each side of a new socket proves that it has both endpoints before anything else is said. What
follows is neither encrypted nor signed.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import socket
import struct
import threading
import time

from hal.interface.capability import Capability
from hal.interface.device import Memory
from hal.interface.errors import BackendUnavailable, StallTimeout, TransportError, UsageError
from hal.interface.transport import Connection, Registration, Transport
from hal_host import _native
from hal_host.addresses import chosen
from hal_host.tcp_settings import AUTO, TcpSettings

_MAGIC = b"HALTCP1\n"
_KEY = struct.Struct("<8sQQ")
_NONCE = 32
_PROOF = 32
_AGAIN, _BAD_RANGE = 1, -2
_LONGEST_TIMEOUT = 1e9  # seconds


class TcpRegistration(Registration):
    """Memory that peers may reach."""

    def __init__(self, regions: _native.Regions, memory: Memory) -> None:
        self.nbytes = memory.nbytes
        self._regions = regions
        self._handle = regions.add(memory.address, memory.nbytes)

    @property
    def key(self) -> bytes:
        """See `Registration.key`."""
        return _KEY.pack(_MAGIC, self._handle, self.nbytes)

    @property
    def handle(self) -> int:
        """See `Registration.handle`."""
        return self._handle

    def close(self) -> None:
        """See `Registration.close`."""
        self._regions.withdraw(self._handle)


class TcpConnection(Connection):
    """A connection to one peer."""

    def __init__(self, regions: _native.Regions, sock: socket.socket) -> None:
        self._native = _native.TcpConnection(regions, sock.detach())

    def put(self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int) -> None:
        """See `Connection.put`."""
        self._transfer("put", key, remote_offset, local, offset, nbytes)

    def get(self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int) -> None:
        """See `Connection.get`."""
        self._transfer("get", key, remote_offset, local, offset, nbytes)

    def _transfer(
        self, what: str, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int
    ) -> None:
        if not isinstance(local, TcpRegistration):
            raise UsageError(f"a {what} of the tcp transport needs a registration that it made")
        _check("local", offset, nbytes, local.nbytes)
        remote, room = _unpack(key)
        _check("remote", remote_offset, nbytes, room)
        post = self._native.put if what == "put" else self._native.get
        while (status := post(remote, remote_offset, local.handle, offset, nbytes)) == _AGAIN:
            time.sleep(1e-4)
        if status == _BAD_RANGE:
            raise UsageError(f"a {what} with memory that was withdrawn here")
        self._judge(status)

    def atomic_add(self, key: bytes, remote_offset: int, value: int) -> None:
        """See `Connection.atomic_add`."""
        remote, room = _unpack(key)
        _check("remote", remote_offset, 8, room)
        while (status := self._native.atomic_add(remote, remote_offset, value % 2**64)) == _AGAIN:
            time.sleep(1e-4)
        self._judge(status)

    def flush(self, timeout: float) -> None:
        """See `Connection.flush`."""
        if not timeout > 0:
            raise UsageError(f"the timeout is {timeout}: a number of seconds above 0 is needed")
        status = self._native.flush(max(1, int(min(timeout, _LONGEST_TIMEOUT) * 1e9)))
        if status == 0:
            raise StallTimeout(f"the peer did not take everything that was put within {timeout:g} s", operation="flush")
        self._judge(min(status, 0))

    def _judge(self, status: int) -> None:
        if status != 0:
            raise TransportError(f"tcp: {self._native.failure}")

    def resolve(self, key: bytes) -> int:
        """See `Connection.resolve`."""
        return _unpack(key)[0]

    def native(self) -> int:
        """See `Connection.native`."""
        return self._native.address

    def close(self) -> None:
        """See `Connection.close`."""
        self._native.close()


class TcpTransport(Transport):
    """Sockets of this machine."""

    def __init__(self, settings: TcpSettings) -> None:
        self._settings = settings
        self._addresses = chosen(settings.interface)
        if not self._addresses:
            raise BackendUnavailable("tcp: no network interface has an IPv4 address")
        self._regions = _native.Regions()
        self._listening: dict[bytes, socket.socket] = {}
        self._connections: list[TcpConnection] = []
        self._registrations: list[TcpRegistration] = []
        self._lock = threading.Lock()

    @property
    def capabilities(self) -> frozenset[Capability]:
        """See `Transport.capabilities`."""
        return frozenset({Capability.GET, Capability.ATOMIC_ADD, Capability.NATIVE_POSTING})

    def endpoint(self) -> bytes:
        """See `Transport.endpoint`."""
        listener = self._listen()
        said = {
            "secret": secrets.token_hex(32),
            "addresses": self._addresses,
            "port": listener.getsockname()[1],
        }
        name = json.dumps(said).encode()
        with self._lock:
            self._listening[name] = listener
        return name

    def _listen(self) -> socket.socket:
        bound = self._addresses[0] if self._settings.interface != AUTO else ""
        first, last = self._settings.first_port, max(self._settings.first_port, self._settings.last_port)
        for port in range(first, last + 1):
            try:
                return socket.create_server((bound, port), reuse_port=False)
            except OSError as error:
                why = error.strerror or str(error)
            except OverflowError:
                why = "no port number"
        ports = f"{first} to {last}" if first else "any"
        raise BackendUnavailable(f"tcp: cannot listen on {bound or 'all addresses'}, port {ports}: {why}")

    def connect(self, own: bytes, peer: bytes, timeout: float) -> Connection:
        """See `Transport.connect`."""
        addresses, port = _parse(peer)
        with self._lock:
            listener = self._listening.pop(own, None)
        if listener is None:
            raise UsageError("connect needs an endpoint of this transport that was not connected before")
        deadline = time.monotonic() + timeout
        first, second = sorted((own, peer))
        secret = hashlib.sha256(first + b"\0" + second).digest()
        with listener:
            # the smaller one dials: both know which that is
            sock = _dial(addresses, port, secret, deadline) if own == first else _accept(listener, secret, deadline)
        if sock is None:
            raise StallTimeout(f"tcp: the peer did not connect within {timeout:g} s", operation="connect")
        connection = TcpConnection(self._regions, sock)
        with self._lock:
            self._connections.append(connection)
        return connection

    def register(self, memory: Memory) -> Registration:
        """See `Transport.register`."""
        if memory.device is not None and Capability.HOST_MAPPED not in memory.device.capabilities:
            raise UsageError("tcp reaches memory that the CPU can read and write; this device's cannot be")
        registration = TcpRegistration(self._regions, memory)
        with self._lock:
            self._registrations.append(registration)
        return registration

    def close(self) -> None:
        """See `Transport.close`."""
        with self._lock:
            listeners = list(self._listening.values())
            self._listening.clear()
            connections, self._connections = self._connections, []
            registrations, self._registrations = self._registrations, []
        for listener in listeners:
            listener.close()
        for connection in connections:
            connection.close()
        for registration in registrations:
            registration.close()


def _parse(peer: bytes) -> tuple[list[str], int]:
    try:
        said = json.loads(peer)
        addresses = [str(socket.inet_ntoa(socket.inet_aton(a))) for a in said["addresses"]]
        port = int(said["port"])
    except (ValueError, TypeError, KeyError, OSError):
        raise UsageError("bytes that are no endpoint of the tcp transport") from None
    return addresses, port


def _unpack(key: bytes) -> tuple[int, int]:
    if len(key) != _KEY.size or not key.startswith(_MAGIC):
        raise UsageError("bytes that are no key of the tcp transport")
    _, handle, nbytes = _KEY.unpack(key)
    return handle, nbytes


def _check(which: str, offset: int, nbytes: int, room: int) -> None:
    if offset < 0 or nbytes < 0 or offset + nbytes > room:
        raise UsageError(f"{nbytes} bytes from {offset} on lie outside of the {which} registration, which has {room}")


def _proof(secret: bytes, label: bytes, nonces: bytes) -> bytes:
    return hmac.new(secret, b"hal-tcp " + label + nonces, hashlib.sha256).digest()


def _dial(addresses: list[str], port: int, secret: bytes, deadline: float) -> socket.socket | None:
    """Connect to the first address behind which the holder of the peer's endpoint answers."""
    while time.monotonic() < deadline:
        for address in addresses:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                # an address that leads nowhere must not use up the time of those after it
                sock = socket.create_connection((address, port), left if len(addresses) == 1 else min(left, 2.0))
            except OSError:
                continue
            try:
                sock.settimeout(left)
                nonce = secrets.token_bytes(_NONCE)
                sock.sendall(_MAGIC + nonce)
                answer = _exactly(sock, _NONCE + _PROOF)
                nonces = nonce + answer[:_NONCE]
                if hmac.compare_digest(answer[_NONCE:], _proof(secret, b"accepts", nonces)):
                    sock.sendall(_proof(secret, b"dials", nonces))
                    return sock
            except OSError:
                pass
            sock.close()
        time.sleep(0.02)
    return None


def _accept(listener: socket.socket, secret: bytes, deadline: float) -> socket.socket | None:
    """Accept the peer; others that connect are sent away."""
    while (left := deadline - time.monotonic()) > 0:
        listener.settimeout(left)
        try:
            sock, _ = listener.accept()
        except OSError:
            continue
        with contextlib.suppress(OSError):
            sock.settimeout(min(left, 2.0))
            if (hello := _exactly(sock, len(_MAGIC) + _NONCE)).startswith(_MAGIC):
                nonce = secrets.token_bytes(_NONCE)
                nonces = hello[len(_MAGIC) :] + nonce
                sock.sendall(nonce + _proof(secret, b"accepts", nonces))
                if hmac.compare_digest(_exactly(sock, _PROOF), _proof(secret, b"dials", nonces)):
                    return sock
        sock.close()
    return None


def _exactly(sock: socket.socket, nbytes: int) -> bytes:
    data = b""
    while len(data) < nbytes:
        part = sock.recv(nbytes - len(data))
        if not part:
            raise ConnectionError("the other side has gone")
        data += part
    return data
