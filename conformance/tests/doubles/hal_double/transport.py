"""A transport over loopback sockets: each connection has a thread at the other end that does what it is told."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import socket
import struct
import threading

from hal.interface.capability import Capability
from hal.interface.device import Memory
from hal.interface.errors import NotSupported, StallTimeout, TransportError, UsageError
from hal.interface.transport import Connection, Registration, Transport

HEAD = struct.Struct("<cQqqQ")  # what, registration, offset, length, value
LITTLE = os.environ.get("DOUBLE_FAULT") == "little"
"""Neither get nor atomic_add."""

_numbers = itertools.count(1)
_lock = threading.Lock()  # of all counters


class DoubleRegistration(Registration):
    def __init__(self, transport: DoubleTransport, memory: Memory) -> None:
        self.memory = memory
        self.number = next(_numbers)
        self._known = transport.known
        self._known[self.number] = memory

    @property
    def key(self) -> bytes:
        return self.number.to_bytes(8, "little")

    def close(self) -> None:
        self._known.pop(self.number, None)


def _exactly(sock: socket.socket, nbytes: int) -> bytes:
    data = bytearray()
    while len(data) < nbytes:
        part = sock.recv(min(1 << 20, nbytes - len(data)))
        if not part:
            raise OSError("the peer has gone")
        data += part
    return bytes(data)


class DoubleConnection(Connection):
    def __init__(self, transport: DoubleTransport, out: socket.socket, into: socket.socket) -> None:
        self._known = transport.known
        self._out = out
        self._into = into
        self._gets: list[tuple[int, int]] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        failed = False
        with contextlib.suppress(OSError):
            while True:
                what, number, offset, nbytes, value = HEAD.unpack(_exactly(self._into, HEAD.size))
                data = _exactly(self._into, nbytes) if what == b"P" else b""
                memory = self._known.get(number)
                inside = memory is not None and offset >= 0 and offset + nbytes <= memory.nbytes
                failed = failed or (what != b"F" and not inside)
                if what == b"P" and memory is not None and inside:
                    ctypes.memmove(memory.address + offset, data, nbytes)
                elif what == b"A" and memory is not None and inside:
                    with _lock:
                        counter = ctypes.c_uint64.from_address(memory.address + offset)
                        counter.value = (counter.value + value) % 2**64
                elif what == b"G":
                    found = ctypes.string_at(memory.address + offset, nbytes) if memory and inside else bytes(nbytes)
                    self._into.sendall(found)
                elif what == b"F":
                    self._into.sendall(b"X" if failed else b"K")

    def _local(self, local: Registration, offset: int, nbytes: int) -> int:
        assert isinstance(local, DoubleRegistration)
        if offset < 0 or nbytes < 0 or offset + nbytes > local.memory.nbytes:
            raise UsageError(f"{nbytes} bytes from {offset} of {local.memory.nbytes}")
        return local.memory.address + offset

    def _send(self, what: bytes, key: bytes, offset: int, nbytes: int, value: int = 0, data: bytes = b"") -> None:
        self._out.sendall(HEAD.pack(what, int.from_bytes(key, "little"), offset, nbytes, value) + data)

    def put(self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int) -> None:
        self._send(b"P", key, remote_offset, nbytes, 0, ctypes.string_at(self._local(local, offset, nbytes), nbytes))

    def get(self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int) -> None:
        if LITTLE:
            raise NotSupported("no get")
        self._gets.append((self._local(local, offset, nbytes), nbytes))
        self._send(b"G", key, remote_offset, nbytes)

    def atomic_add(self, key: bytes, remote_offset: int, value: int) -> None:
        if LITTLE:
            raise NotSupported("no atomic_add")
        self._send(b"A", key, remote_offset, 8, value % 2**64)

    def flush(self, timeout: float) -> None:
        self._out.settimeout(timeout)
        self._send(b"F", bytes(8), 0, 0)
        for address, nbytes in self._gets:
            ctypes.memmove(address, _exactly(self._out, nbytes), nbytes)
        self._gets.clear()
        if _exactly(self._out, 1) != b"K":
            raise TransportError("an operation failed at the peer")

    def close(self) -> None:
        for sock in (self._out, self._into):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class DoubleTransport(Transport):
    """Connections over loopback."""

    def __init__(self) -> None:
        self.known: dict[int, Memory] = {}
        self._listening: dict[bytes, socket.socket] = {}
        self._connections: list[DoubleConnection] = []

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset() if LITTLE else frozenset({Capability.GET, Capability.ATOMIC_ADD})

    def endpoint(self) -> bytes:
        listener = socket.create_server(("127.0.0.1", 0))
        name = int(listener.getsockname()[1]).to_bytes(2, "little")
        self._listening[name] = listener
        return name

    def connect(self, own: bytes, peer: bytes, timeout: float) -> Connection:
        listener = self._listening.pop(own)
        listener.settimeout(timeout)
        out = socket.create_connection(("127.0.0.1", int.from_bytes(peer, "little")), timeout)
        try:
            into, _ = listener.accept()
        except TimeoutError:
            out.close()
            raise StallTimeout("nobody connects") from None
        finally:
            listener.close()
        into.settimeout(None)
        self._connections.append(self.connection(out, into))
        return self._connections[-1]

    def connection(self, out: socket.socket, into: socket.socket) -> DoubleConnection:
        return DoubleConnection(self, out, into)

    def register(self, memory: Memory) -> Registration:
        return DoubleRegistration(self, memory)

    def close(self) -> None:
        for listener in self._listening.values():
            listener.close()
        self._listening.clear()
        for connection in self._connections:
            connection.close()
