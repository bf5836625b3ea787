"""Two transports on the device of this machine, connected with each other, in one process."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hal.interface.device import Memory
from hal_ib.choice import choose
from hal_ib.ports import ports
from hal_ib.settings import IbSettings
from hal_ib.transport import IbConnection, IbTransport

TIMEOUT = 60.0
POSTINGS = ("native", "pyverbs")
FAST: dict[str, Any] = {"ack_timeout": "60ms", "retries": 2}
"""Settings by which a peer counts as gone after a fraction of a second."""

needs_device = pytest.mark.skipif(not ports(), reason="this machine has no RDMA device; `make test-rxe` makes one")


def settings(posting: str, **others: Any) -> IbSettings:
    if posting == "pyverbs":
        pytest.importorskip("pyverbs.device", exc_type=ImportError)
    return IbSettings(posting=posting, **others)


class End:
    """One side: a transport, memory, its registration, and a connection to the other side."""

    def __init__(self, chosen: IbSettings, nbytes: int) -> None:
        self.transport = IbTransport(choose(ports(), chosen), chosen)
        self.memory = (ctypes.c_uint8 * max(nbytes, 8))()
        self.registration = self.transport.register(Memory(ctypes.addressof(self.memory), len(self.memory), None))
        self.connection: IbConnection

    @property
    def key(self) -> bytes:
        return self.registration.key

    def read(self, offset: int, nbytes: int) -> bytes:
        return bytes(memoryview(self.memory)[offset : offset + nbytes])

    def write(self, offset: int, data: bytes) -> None:
        ctypes.memmove(ctypes.addressof(self.memory) + offset, data, len(data))

    def counter(self, offset: int) -> int:
        return ctypes.c_uint64.from_buffer(self.memory, offset).value


def connect(a: IbTransport, b: IbTransport) -> tuple[IbConnection, IbConnection]:
    ends = a.endpoint(), b.endpoint()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(b.connect, ends[1], ends[0], TIMEOUT)
        return a.connect(ends[0], ends[1], TIMEOUT), other.result()


@contextlib.contextmanager
def pair(chosen: IbSettings, nbytes: int = 1 << 16) -> Iterator[tuple[End, End]]:
    """Two sides that are connected; all is closed at the end."""
    ends = End(chosen, nbytes), End(chosen, nbytes)
    try:
        ends[0].connection, ends[1].connection = connect(ends[0].transport, ends[1].transport)
        yield ends
    finally:
        for end in ends:
            end.transport.close()
