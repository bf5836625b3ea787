"""`python -m benchmarks.ib.rank ROUNDS ADDRESS PORT PORT [PORT]`: one of two ranks on two hosts; rank 0 prints JSON.

The address is that of rank 0, the ports serve control, the plain socket, and gloo where it takes part.

Transfers of HAL's TCP transport, of a socket and of gloo, and all_reduce of HAL and of gloo, in turn in every round.
A figure is the time of some transfers and of the news that all have arrived: HAL's flush, or a byte sent back.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

import hal_collectives
from hal.interface.device import Memory
from hal_host.tcp import TcpTransport
from hal_host.tcp_settings import TcpSettings

MARK = "benchmarks.ib:"
TIMEOUT = 60.0
TRANSFERS = {8: 1, 4096: 1, 65536: 1, 1 << 20: 1, 16 << 20: 1}
STREAMS = {4096: 2000, 65536: 400, 1 << 20: 64, 16 << 20: 6}
"""Sizes, and how many transfers of each one piece of news stands for."""
ALL_REDUCES = {8: 50, 4096: 50, 65536: 30, 1 << 20: 10, 16 << 20: 3}
"""Sizes, and how many calls are timed together."""
REPEATED = 20
"""How often a single transfer is timed in a round; the median counts."""
LARGEST = 16 << 20


class Contender(Protocol):
    """One way from rank 0 to rank 1."""

    def give(self, nbytes: int, count: int) -> None:
        """Rank 0: send so many messages, and wait until all have arrived."""

    def take(self, nbytes: int, count: int) -> None:
        """Rank 1: its part."""


class Hal:
    """Puts, and a flush; the transport's thread does what rank 1 has to."""

    def __init__(self, comm: hal_collectives.Communicator, exchange: Callable[[bytes], bytes]) -> None:
        self._transport = TcpTransport(TcpSettings(interface="cable"))
        self.array = np.ones(LARGEST, np.uint8)
        self._local = self._transport.register(Memory(self.array.ctypes.data, LARGEST, None))
        endpoint = self._transport.endpoint()
        self._connection = self._transport.connect(endpoint, exchange(endpoint), TIMEOUT)
        self._key = exchange(self._local.key)

    def give(self, nbytes: int, count: int) -> None:
        """See `Contender`."""
        for _ in range(count):
            self._connection.put(self._key, 0, self._local, 0, nbytes)
        self._connection.flush(TIMEOUT)

    def take(self, nbytes: int, count: int) -> None:
        """See `Contender`."""

    def close(self) -> None:
        """Drop the connection."""
        self._transport.close()


class Plain:
    """A socket, with `sendall` and `recv_into`."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._view = memoryview(bytearray(LARGEST))

    def give(self, nbytes: int, count: int) -> None:
        """See `Contender`."""
        message = self._view[:nbytes]
        for _ in range(count):
            self._socket.sendall(message)
        exactly(self._socket, 1)

    def take(self, nbytes: int, count: int) -> None:
        """See `Contender`."""
        for _ in range(count):
            at = 0
            while at < nbytes:
                at += self._socket.recv_into(self._view[at:nbytes])
        self._socket.sendall(b"x")


class Gloo:
    """send and recv of torch.distributed."""

    def __init__(self, rank: int, address: str) -> None:
        import torch
        import torch.distributed as dist

        self.version = f"torch {torch.__version__}"
        self.dist = dist
        dist.init_process_group("gloo", init_method=f"tcp://{address}", rank=rank, world_size=2)
        self.tensor = torch.ones(LARGEST, dtype=torch.uint8)
        self._news = torch.ones(1, dtype=torch.uint8)
        self.floats = torch.zeros(LARGEST // 4, dtype=torch.float32)

    def give(self, nbytes: int, count: int) -> None:
        """See `Contender`."""
        message = self.tensor[:nbytes]
        for _ in range(count):
            self.dist.send(message, 1)
        self.dist.recv(self._news, 1)

    def take(self, nbytes: int, count: int) -> None:
        """See `Contender`."""
        message = self.tensor[:nbytes]
        for _ in range(count):
            self.dist.recv(message, 0)
        self.dist.send(self._news, 0)


def exactly(sock: socket.socket, nbytes: int) -> bytes:
    """That many bytes."""
    data = b""
    while len(data) < nbytes:
        part = sock.recv(nbytes - len(data))
        if not part:
            raise ConnectionError("the other rank has gone")
        data += part
    return data


def connected(rank: int, address: tuple[str, int]) -> socket.socket:
    """A socket between the two ranks."""
    end = time.monotonic() + TIMEOUT
    if rank == 0:
        with socket.create_server(address) as listener:
            listener.settimeout(TIMEOUT)
            sock, _ = listener.accept()
    else:
        while True:
            try:
                sock = socket.create_connection(address, TIMEOUT)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
    sock.settimeout(TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Pair:
    """The two ranks and all contenders."""

    def __init__(self, comm: hal_collectives.Communicator, host: str, ports: list[int]) -> None:
        self.rank = comm.rank
        self.control = connected(self.rank, (host, ports[0]))
        self.hal = Hal(comm, self.exchange)
        self.contenders: dict[str, Contender] = {"HAL": self.hal}
        self.contenders["socket"] = Plain(connected(self.rank, (host, ports[1])))
        self.all_reduces: dict[str, Callable[[int], Any]] = {}
        mine = np.zeros(LARGEST // 4, np.float32)
        self.all_reduces["HAL"] = lambda nbytes: comm.all_reduce(mine[: nbytes // 4], out=mine[: nbytes // 4])
        self.version = None
        if len(ports) > 2:
            gloo = Gloo(self.rank, f"{host}:{ports[2]}")
            self.contenders["gloo"] = gloo
            self.all_reduces["gloo"] = lambda nbytes: gloo.dist.all_reduce(gloo.floats[: nbytes // 4])
            self.version = gloo.version

    def exchange(self, data: bytes) -> bytes:
        """What the other rank gives."""
        self.control.sendall(len(data).to_bytes(4, "little") + data)
        return exactly(self.control, int.from_bytes(exactly(self.control, 4), "little"))

    def transfers(self, name: str, nbytes: int, count: int) -> float:
        """Seconds of `count` transfers."""
        contender = self.contenders[name]
        self.exchange(b"")
        start = time.perf_counter()
        (contender.take if self.rank else contender.give)(nbytes, count)
        return time.perf_counter() - start

    def all_reduce(self, name: str, nbytes: int, count: int) -> float:
        """Seconds of one call."""
        call = self.all_reduces[name]
        self.exchange(b"")
        call(nbytes)
        start = time.perf_counter()
        for _ in range(count):
            call(nbytes)
        return (time.perf_counter() - start) / count

    def check(self) -> None:
        """What HAL puts arrives."""
        self.hal.array[:1000] = 7 - self.rank
        self.transfers("HAL", 1000, 1)
        self.exchange(b"")
        if not (self.hal.array[:1000] == 7).all():
            raise RuntimeError("a put has not arrived after its flush")


def measure(pair: Pair, rounds: int) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Every figure once a round: kind, size, contender. Microseconds, and 10^6 bytes a second."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {kind: {} for kind in ("transfer", "stream", "all_reduce")}

    def note(kind: str, size: int, name: str, value: float) -> None:
        found[kind].setdefault(str(size), {}).setdefault(name, []).append(value)

    for turn in range(rounds + 1):
        names = list(pair.contenders)
        names = names[turn % len(names) :] + names[: turn % len(names)]
        for size in TRANSFERS:
            for name in names:
                times = sorted(pair.transfers(name, size, 1) for _ in range(REPEATED))
                note("transfer", size, name, times[REPEATED // 2] * 1e6)
        for size, count in STREAMS.items():
            for name in names:
                note("stream", size, name, size * count / pair.transfers(name, size, count) / 1e6)
        for size, count in ALL_REDUCES.items():
            for name in names:
                if name in pair.all_reduces:
                    note("all_reduce", size, name, pair.all_reduce(name, size, count) * 1e6)
    for sizes in found.values():  # the first round warms up
        for contenders in sizes.values():
            for values in contenders.values():
                del values[0]
    return found


def main() -> None:
    """Measure; rank 0 prints."""
    rounds, host, *ports = sys.argv[1:]
    with hal_collectives.init() as comm:
        pair = Pair(comm, host, [int(port) for port in ports])
        pair.check()
        found = measure(pair, int(rounds))
        if comm.rank == 0:
            about = {"gloo": pair.version, "interface": os.environ.get("GLOO_SOCKET_IFNAME")}
            print(MARK, json.dumps({"about": about, **found}), flush=True)
        pair.exchange(b"")
        pair.hal.close()


if __name__ == "__main__":
    main()
