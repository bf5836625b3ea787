"""How ranks take orders: one JSON object a line, over a Unix socket that each rank opens to the conductor.

A rank that waits for an order sleeps in the kernel; it ends when the conductor's side closes.
"""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any

Message = dict[str, Any]
SOCKET_VARIABLE = "HAL_BENCH_SOCKET"
BINDING_VARIABLE = "HAL_BENCH_BIND"
"""Set where a rank is to bind itself to a core."""
_LONGEST = 1 << 16


class Channel:
    """One end of a rank's connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = b""

    @classmethod
    def connect(cls, path: str) -> Channel:
        """A rank's end."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(path)
        return cls(sock)

    def send(self, message: Message) -> None:
        """Send one message; `OSError` where the other side has gone."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float | None = None) -> Message | None:
        """The next message, or None when the other side has closed; `TimeoutError` after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._buffer:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._socket], [], [], wait)[0]:
                raise TimeoutError
            try:
                data = self._socket.recv(_LONGEST)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        message: Message = json.loads(line)
        return message

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


class Listener:
    """Where the ranks of one contender report."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(path)
        self._socket.listen(1024)

    def accept(self, timeout: float) -> Channel:
        """The next rank that reports; `TimeoutError` after `timeout` seconds."""
        self._socket.settimeout(timeout)
        sock, _ = self._socket.accept()
        sock.setblocking(True)
        return Channel(sock)

    def close(self) -> None:
        """Take no more."""
        self._socket.close()
