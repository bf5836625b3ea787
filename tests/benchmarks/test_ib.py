"""What `make bench-ib` measures with: the loop in C does what it says, and the page compares the right way round."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from benchmarks.ib.__main__ import over_rdma, over_tcp
from benchmarks.ib.loop import Loop, compiled
from benchmarks.ib.page import NOT_RUN, page

from hal.interface.device import Memory
from hal_host.tcp import TcpTransport
from hal_host.tcp_settings import TcpSettings

ROOM = 1 << 16


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("loop"))


def test_the_loop_moves_what_it_times(library: Path) -> None:
    transports = [TcpTransport(TcpSettings(interface="127.0.0.1")) for _ in range(2)]
    memories = [(ctypes.c_uint8 * (2 * ROOM))() for _ in range(2)]
    pairs = list(zip(transports, memories, strict=True))
    held = [t.register(Memory(ctypes.addressof(m), len(m), None)) for t, m in pairs]
    ends = [transport.endpoint() for transport in transports]
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda i: transports[i].connect(ends[i], ends[1 - i], 20), range(2)))
        loops = [Loop(library, made[i], held[1 - i].key, held[i], source=0, target=ROOM) for i in range(2)]
        memories[0][:ROOM] = bytes(range(256)) * (ROOM // 256)
        assert loops[0].stream(ROOM, 20) > 0
        assert bytes(memories[1][ROOM:]) == bytes(memories[0][:ROOM])
        assert 0 < loops[0].post(8, 100) < 1
        for memory in memories:
            ctypes.memset(memory, 0, len(memory))
        places = [ctypes.addressof(memory) for memory in memories]
        times = list(pool.map(lambda i: loops[i].ping_pong(places[i], 1000, 300, first=i == 0), range(2)))
        assert all(0 < seconds < 1 for seconds in times)
        assert [memory[ROOM + 999] for memory in memories] == [300 % 256] * 2  # the last turn's mark
    for transport in transports:
        transport.close()


MACHINE = {"date": "today", "cpu": "a processor", "cores": 2, "kernel": "Linux", "python": "3", "commit": "abc"}
ABOUT = {"device": "rxe0 port 1", "processors": 2, "virtual": True}


def test_above_1_hal_is_faster_in_times_and_in_rates() -> None:
    network = {
        "about": {"gloo": "torch 9"},
        "transfer": {"8": {"HAL": [10.0, 20.0], "socket": [20.0, 40.0], "gloo": [30.0, 60.0]}},
        "stream": {"4096": {"HAL": [100.0, 100.0], "socket": [200.0, 200.0], "gloo": [50.0, 50.0]}},
        "all_reduce": {"8": {"HAL": [10.0, 10.0], "gloo": [50.0, 50.0]}},
    }
    rdma = {
        "about": ABOUT,
        "no_pyverbs": None,
        "posting": {"8": {"native, from C": [1.0], "pyverbs, from Python": [9.0]}},
        "latency": {"8": {"HAL": [3.0], "ib_write_lat": [12.0]}},
        "bandwidth": {"8": {"HAL": [3.0], "ib_write_bw": [4.0]}},
    }
    found = {"machine": MACHINE, "minutes": 1, "rounds": 2, "load": [1, 2, 3], "network": network, "rdma": rdma}
    text = page(found)
    assert "| 8 | 15 | 30 | 45 | **2.00** (2.00 to 2.00) | **3.00** (3.00 to 3.00) |" in text
    assert "| 4096 | 100 | 200 | 50 | **0.50** (0.50 to 0.50) | **2.00** (2.00 to 2.00) |" in text
    assert "| 8 | 10 | 50 | **5.00**" in text
    assert "| 8 | 1.0 (1.0 to 1.0) | 9.0 (9.0 to 9.0) |" in text
    assert "| 8 | 3 | 12 | **4.00**" in text
    assert "| 8 | 3 | 4 | **0.75**" in text
    assert "virtual machine" in text


def test_what_was_not_run_is_said_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # neither ip nor a compiler
    monkeypatch.setattr("benchmarks.host.environment.prepare", lambda *_: {"gloo": "not installed: no network"})
    network, rdma = over_tcp(2), over_rdma(2)
    assert "no program 'ip'" in network[NOT_RUN]
    assert "no C compiler" in rdma[NOT_RUN]
    found = {"machine": MACHINE, "minutes": 1, "rounds": 2, "load": [1], "network": network, "rdma": rdma}
    assert page(found).count("Not run: ") == 2
