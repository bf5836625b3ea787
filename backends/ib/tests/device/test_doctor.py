"""What `hal doctor` says of ib where something is really missing: in the virtual machine, whose device may be taken."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from hal.plugins import Problem
from hal_ib.ports import ports
from hal_ib.probe import probe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("RXE_GUEST" not in os.environ, reason="only the virtual machine's device may be taken away"),
]
REACHED = ipaddress.IPv4Address("127.0.0.1")


def run(command: str) -> None:
    subprocess.run(command.split(), check=True, timeout=30)


@pytest.fixture
def mended() -> Iterator[None]:
    """Afterwards the device is there again, as the other tests expect it."""
    yield
    run("ip link set lo up")
    if not ports():
        run("rdma link add rxe0 type rxe netdev lo")
    end = time.monotonic() + 20
    while not any(gid.address.ipv4_mapped == REACHED for port in ports() for gid in port.gids):
        assert time.monotonic() < end, "the device has not come back"
        time.sleep(0.1)


def problem(about: str) -> Problem:
    (found,) = [each for each in probe().problems if about in each.what]
    return found


def test_all_is_well() -> None:
    found = probe()
    assert found.available
    assert found.problems == ()
    assert "rxe0 port 1 (RoCE v2, ACTIVE" in found.devices[0]


def test_no_device(mended: None) -> None:
    run("rdma link delete rxe0")
    assert not probe().available
    assert "rdma link add rxe0" in problem("there is no RDMA device").remedy


def test_port_down(mended: None) -> None:
    run("ip link set lo down")
    assert not probe().available
    assert "ip link set DEVICE up" in problem("no port is active: rxe0 port 1 is DOWN").remedy


def test_locked_memory_is_limited_for_who_is_not_privileged() -> None:
    """The guest's root locks what it likes; a user with a low limit is told."""
    program = (
        "import os, resource; from hal_ib.probe import probe; import pyverbs.device; os.setuid(1000);"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20));"
        "print([p for p in probe().problems if 'locked memory' in p.what])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "the limit on locked memory is 1024 KiB" in done.stdout
    assert "ulimit -l" in done.stdout
