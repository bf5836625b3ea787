"""The TCP transport: the conformance suite, strangers, addresses and ports, and what arrives of large transfers."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hal.interface.device import Memory
from hal.interface.errors import BackendUnavailable, TransportError, UsageError
from hal.interface.transport import Connection
from hal_host.tcp import TcpTransport
from hal_host.tcp_settings import TcpSettings

TIMEOUT = 20.0
HERE = TcpSettings(interface="127.0.0.1")


@contextlib.contextmanager
def _connected(settings: TcpSettings = HERE) -> Iterator[tuple[list[TcpTransport], list[Connection]]]:
    ends = [TcpTransport(settings), TcpTransport(settings)]
    names = [end.endpoint() for end in ends]
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        for end in ends:
            stack.callback(end.close)
        yield ends, list(pool.map(lambda r: ends[r].connect(names[r], names[1 - r], TIMEOUT), range(2)))


def _ordinary(array: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Memory:
    return Memory(int(array.ctypes.data), array.nbytes, None)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_it_passes_the_conformance_suite() -> None:
    words = [str(Path(sysconfig.get_path("scripts")) / "hal"), "conformance", "--backend", "tcp", "--quick"]
    done = subprocess.run([*words, "--profile", "transport"], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("nbytes", [1, 65537, (1 << 20) - 1, 1 << 20, (1 << 24) + 3])
def test_transfers_of_many_sizes(nbytes: int) -> None:
    rng = np.random.default_rng(nbytes)
    source = rng.integers(0, 256, nbytes, np.uint8)
    target = np.zeros(nbytes + 16, np.uint8)
    back = np.zeros(nbytes, np.uint8)
    with _connected() as (ends, lines):
        own, reached = ends[0].register(_ordinary(source)), ends[1].register(_ordinary(target))
        got = ends[0].register(_ordinary(back))
        lines[0].put(reached.key, 8, own, 0, nbytes)
        lines[0].get(reached.key, 8, got, 0, nbytes)
        lines[0].flush(TIMEOUT)
        assert np.array_equal(target[8 : 8 + nbytes], source)
        assert not target[:8].any()
        assert not target[8 + nbytes :].any()
        assert np.array_equal(back, source)


def test_a_stranger_is_sent_away_and_the_peer_still_gets_in() -> None:
    ends = [TcpTransport(HERE), TcpTransport(HERE)]
    names = sorted(((end.endpoint(), end) for end in ends), key=lambda pair: pair[0])
    (dialling, dialler), (listening, listener) = names
    with ThreadPoolExecutor(2) as pool, contextlib.ExitStack() as stack:
        for end in ends:
            stack.callback(end.close)
        stranger = stack.enter_context(socket.create_connection(("127.0.0.1", json.loads(listening)["port"]), 5))
        stranger.sendall(b"HALTCP1\n" + bytes(32))
        accepted = pool.submit(listener.connect, listening, dialling, TIMEOUT)
        stranger.settimeout(TIMEOUT)
        assert len(stranger.recv(64, socket.MSG_WAITALL)) == 64
        stranger.sendall(bytes(32))  # no proof
        assert stranger.recv(1) == b""
        pool.submit(dialler.connect, dialling, listening, TIMEOUT).result().close()
        accepted.result().close()


def test_a_range_outside_of_remote_memory_is_refused_by_its_owner() -> None:
    memory, reached = np.zeros(4096, np.uint8), np.zeros(64, np.uint8)
    with _connected() as (ends, lines):
        here, there = ends[0].register(_ordinary(memory)), ends[1].register(_ordinary(reached))
        with pytest.raises(UsageError, match="outside of the remote registration"):
            lines[0].put(there.key, 0, here, 0, 65)
        forged = there.key[:-8] + (4096).to_bytes(8, "little")
        lines[0].put(forged, 0, here, 0, 65)
        with pytest.raises(TransportError, match="the peer refused"):
            lines[0].flush(TIMEOUT)


def test_the_end_of_a_peer_ends_a_flush() -> None:
    memory, reached = np.zeros(64, np.uint8), np.zeros(64, np.uint8)
    with _connected() as (ends, lines):
        here, there = ends[0].register(_ordinary(memory)), ends[1].register(_ordinary(reached))
        lines[1].close()

        def put() -> None:  # it or the flush fails, as the end is seen
            lines[0].put(there.key, 0, here, 0, 64)
            lines[0].flush(TIMEOUT)

        with pytest.raises(TransportError, match="tcp: "):
            put()


def test_interface_and_ports_are_what_was_asked_for() -> None:
    with pytest.raises(BackendUnavailable, match=r"tcp\.interface: .*'nothing0', it has "):
        TcpTransport(TcpSettings(interface="nothing0"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        blocked = TcpTransport(TcpSettings(interface="127.0.0.1", first_port=port))
        with pytest.raises(BackendUnavailable, match=f"cannot listen on 127.0.0.1, port {port}"):
            blocked.endpoint()


@pytest.mark.parametrize(
    "said", [b"", b"{}", b"[1]", b'{"addresses": ["x"], "port": 1}', b'{"addresses": 5, "port": 1}']
)
def test_bytes_that_are_no_endpoint(said: bytes) -> None:
    transport = TcpTransport(HERE)
    with pytest.raises(UsageError, match="no endpoint"):
        transport.connect(transport.endpoint(), said, 1.0)
    transport.close()
