"""File descriptors from process to process: what a driver makes of a handle that other processes are to open."""

from __future__ import annotations

import array
import contextlib
import hmac
import os
import secrets
import select
import socket
import time
from collections.abc import Iterator, Sequence

from hal.interface.errors import BackendUnavailable

_KEY = 16
_MOST = 4
"""Descriptors of one message."""


class Inbox:
    """Where the other members send their descriptors.

    The socket's name lies in no file system, so that nothing is left where a process dies. Any process of the machine
    may find it and write to it: what does not begin with the key, which members alone are told, is thrown away.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(_KEY)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind(b"\0hal-" + secrets.token_hex(16).encode())
        except OSError:
            self._socket.close()
            raise
        self.address: bytes = self._key + self._socket.getsockname()
        """What the others are told, in private."""

    def exchange(
        self, rank: int, addresses: Sequence[bytes], own: Sequence[int], timeout: float
    ) -> dict[int, list[int]]:
        """Send the descriptors `own` to all other members, and return theirs, by rank, for the caller to close.

        Every member calls it. `BackendUnavailable` where a member cannot be reached, or has sent nothing in `timeout`
        seconds.
        """
        end = time.monotonic() + timeout
        received: dict[int, list[int]] = {}
        unsent = {member for member in range(len(addresses)) if member != rank}
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as outbox:
                while unsent or len(received) < len(addresses) - 1:
                    unsent -= set(self._send(outbox, rank, {m: addresses[m] for m in unsent}, own))
                    self._receive(len(addresses), received)
                    if time.monotonic() > end:
                        missing = sorted(set(range(len(addresses))) - {rank} - set(received))
                        raise BackendUnavailable(f"no handles came from ranks {missing} within {timeout:.0f} s")
        except BaseException:
            for descriptors in received.values():
                close(descriptors)
            raise
        return received

    def _send(self, outbox: socket.socket, rank: int, unsent: dict[int, bytes], own: Sequence[int]) -> Iterator[int]:
        passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", own))]
        for member, address in unsent.items():
            try:
                data = address[:_KEY] + rank.to_bytes(4, "little")
                outbox.sendmsg([data], passed, 0, address[_KEY:])
            except BlockingIOError:  # its queue is full
                continue
            except OSError as error:
                raise BackendUnavailable(
                    f"cannot pass handles to the process of rank {member}: {error}; ranks must be processes of one "
                    "container, or share its network"
                ) from error
            yield member

    def _receive(self, members: int, received: dict[int, list[int]]) -> None:
        """Take what has come, or wait a moment for it."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        waiting.poll(20)
        with contextlib.suppress(BlockingIOError):
            while True:
                data, descriptors, flags, _ = socket.recv_fds(self._socket, _KEY + 5, _MOST, socket.MSG_CMSG_CLOEXEC)
                member = int.from_bytes(data[_KEY:], "little")
                whole = len(data) == _KEY + 4 and not flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC)
                known = whole and hmac.compare_digest(data[:_KEY], self._key) and member < members
                if known and member not in received:
                    received[member] = descriptors
                else:
                    close(descriptors)

    def close(self) -> None:
        """Take no more."""
        self._socket.close()


def close(descriptors: Sequence[int]) -> None:
    """Close them all."""
    for descriptor in descriptors:
        os.close(descriptor)
