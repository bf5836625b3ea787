"""`python -m benchmarks.ib.guest LOOP ROUNDS`: what is measured where the RDMA device is; prints one line of JSON.

Two processes, each with a transport on the device. Beside them perftest's programs run, which have two processes too;
who is not measured sleeps. All take turns, in every round.
"""

from __future__ import annotations

import ctypes
import json
import math
import multiprocessing
import os
import subprocess
import sys
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from benchmarks.ib.loop import Loop
from hal.interface.device import Memory
from hal.interface.transport import Connection
from hal_ib.choice import choose
from hal_ib.ports import ports
from hal_ib.settings import IbSettings
from hal_ib.transport import IbTransport

MARK = "benchmarks.ib:"
"""Begins the line of results."""
POSTED = 128
"""Puts in a row that fit into the queue, for the cost of posting."""
POSTINGS, BATCHES = (8, 4096), 8
LATENCY = {8: 400, 4096: 300, 65536: 100}
BANDWIDTH = {4096: 2000, 65536: 300, 1 << 20: 40}
"""Messages of each size."""
TYPICAL, AVERAGE = 4, 3
"""Columns of perftest: the median of half a round trip in microseconds, bandwidth in MiB a second."""
ROOM = 2 << 20
TIMEOUT = 60.0
Times = dict[str, list[float]]


class Side:
    """One of two processes: its transport, and connections of both implementations where pyverbs is there."""

    def __init__(self, pipe: Pipe, library: Path, postings: list[str], *, first: bool) -> None:
        self.first = first
        self.memory = (ctypes.c_uint8 * (2 * ROOM))()
        self.connections: dict[str, tuple[Connection, Any, bytes]] = {}
        self._transports = []
        for posting in postings:
            settings = IbSettings(posting=posting)
            transport = IbTransport(choose(ports(), settings), settings)
            self._transports.append(transport)
            registration = transport.register(Memory(ctypes.addressof(self.memory), len(self.memory), None))
            endpoint = transport.endpoint()
            pipe.send((endpoint, registration.key))
            peer, key = pipe.recv()
            self.connections[posting] = transport.connect(endpoint, peer, TIMEOUT), registration, key
        connection, registration, key = self.connections["native"]
        self.loop = Loop(library, connection, key, registration, source=0, target=ROOM)

    def clear(self) -> None:
        """What ping-pong begins with: no message of before."""
        ctypes.memset(self.memory, 0, len(self.memory))

    def ping_pong(self, nbytes: int, count: int) -> float:
        """This side's part, on memory that both have cleared; microseconds."""
        return self.loop.ping_pong(ctypes.addressof(self.memory), nbytes, count, first=self.first) * 1e6

    def post(self, posting: str, nbytes: int) -> float:
        """Microseconds that a put from Python takes to return."""
        connection, registration, key = self.connections[posting]
        start = time.perf_counter()
        for _ in range(POSTED):
            connection.put(key, ROOM, registration, 0, nbytes)
        took = time.perf_counter() - start
        connection.flush(TIMEOUT)
        return took / POSTED * 1e6

    def close(self) -> None:
        """Close all."""
        for transport in self._transports:
            transport.close()


def peer(pipe: Pipe, library: Path, postings: list[str]) -> None:
    """The second process: plays its part of ping-pong when told."""
    side = Side(pipe, library, postings, first=False)
    while (told := pipe.recv()) is not None:
        side.clear()
        pipe.send(None)
        side.ping_pong(*told)
        pipe.send(None)
    side.close()


def perftest(program: str, nbytes: int, count: int, column: int) -> float:
    """A column of what one of perftest's programs says, between two processes of this machine.

    It finds out the clock's rate each time, and where it finds none its times are infinite: it is then asked again.
    """
    choice = choose(ports(), IbSettings())
    command = [program, "-d", choice.port.device, "-i", str(choice.port.number), "-x", str(choice.gid.index)]
    command += ["-s", str(nbytes), "-n", str(count), "-F"]
    end = time.monotonic() + TIMEOUT
    while True:
        said = _both(command)
        rows = [line.split() for line in said.splitlines() if line.split()[:1] == [str(nbytes)]]
        if rows and math.isfinite(value := float(rows[-1][column])) and value > 0:
            return value
        if time.monotonic() > end:
            raise RuntimeError(f"{' '.join(command)} says no time: {said[-300:]}")


def _both(command: list[str]) -> str:
    """Run server and client; what the client prints. The server says nothing when it listens."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            client = subprocess.run(
                [*command, "127.0.0.1"], capture_output=True, text=True, timeout=TIMEOUT, check=False
            )
            if client.returncode == 0:
                server.wait(TIMEOUT)
                return client.stdout
            if server.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} failed: {client.stdout[-300:]} {client.stderr[-300:]}")
            time.sleep(0.1)
    finally:
        server.kill()
        server.wait()


def measure(side: Side, pipe: Pipe, rounds: int) -> dict[str, dict[str, Times]]:
    """Every figure once a round: kind, size, contender."""
    found: dict[str, dict[str, Times]] = {kind: {} for kind in ("posting", "latency", "bandwidth")}

    def note(kind: str, size: int, name: str, value: float) -> None:
        found[kind].setdefault(str(size), {}).setdefault(name, []).append(value)

    def ping_pong(nbytes: int, count: int) -> float:
        side.clear()
        pipe.send((nbytes, count))
        pipe.recv()
        median = side.ping_pong(nbytes, count)
        pipe.recv()
        return median

    for _ in range(rounds):
        for size in POSTINGS:
            for _ in range(BATCHES):
                note("posting", size, "native, from C", side.loop.post(size, POSTED) * 1e6)
                for posting in side.connections:
                    note("posting", size, f"{posting}, from Python", side.post(posting, size))
        for size, count in LATENCY.items():
            note("latency", size, "HAL", ping_pong(size, count))
            note("latency", size, "ib_write_lat", perftest("ib_write_lat", size, count, TYPICAL))
        for size, count in BANDWIDTH.items():
            note("bandwidth", size, "HAL", side.loop.stream(size, count) / 1e6)
            note("bandwidth", size, "ib_write_bw", perftest("ib_write_bw", size, count, AVERAGE) * 2**20 / 1e6)
    return found


def main() -> None:
    """Measure and print."""
    library, rounds = Path(sys.argv[1]), int(sys.argv[2])
    postings = ["native"]
    try:
        import pyverbs.device  # noqa: F401 -- whether it is there is what is asked

        postings.append("pyverbs")
        missing = None
    except ImportError as error:
        missing = str(error)
    context = multiprocessing.get_context("fork")  # before anything is opened; importing again would take seconds
    pipe, other = context.Pipe()
    second = context.Process(target=peer, args=(other, library, postings))
    second.start()
    try:
        side = Side(pipe, library, postings, first=True)
        found = measure(side, pipe, rounds)
        pipe.send(None)
        side.close()
        second.join(TIMEOUT)
    finally:
        second.kill()
    choice = choose(ports(), IbSettings())
    about = {"device": str(choice), "processors": os.cpu_count(), "virtual": "RXE_GUEST" in os.environ}
    print(MARK, json.dumps({"about": about, "no_pyverbs": missing, **found}), flush=True)


if __name__ == "__main__":
    main()
