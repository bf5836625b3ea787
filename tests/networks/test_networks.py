"""Ranks on hosts that share a network alone: results, slow and lossy cables, and one that is pulled."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from benchmarks.ib.network import Network, Unavailable, environments

from ..collectives.test_processes import PROGRAM, ROOT, SAMPLE
from ..faults.ranks import Rank

SOON = 5.0
"""Seconds after a deadline. The machine may be busy."""
FEW = 'covering(matrix(memories=["plain"]), seed=5, candidates=1)[:20]'
LAYOUTS = [
    [0, 1, 2, 0],
    *(pytest.param(hosts, marks=pytest.mark.exhaustive) for hosts in ([0, 1], [0, 0, 1], [0, 1, 2])),
]


@pytest.fixture
def network() -> Iterator[Network]:
    try:
        made = Network(3)
    except Unavailable as why:
        pytest.skip(f"this machine makes no network of its own: {why}")
    with made:
        yield made


def run(network: Network, hosts: Sequence[int], script: Path) -> None:
    """Run a script on all ranks; all end well, within a deadline."""
    ranks = [
        subprocess.Popen(
            [*network.before(host), sys.executable, str(script), str(ROOT)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for host, environment in zip(hosts, environments(network, hosts, secrets.token_hex(16)), strict=True)
    ]
    end = time.monotonic() + 100
    try:
        said = [rank.communicate(timeout=max(0.1, end - time.monotonic()))[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
    assert [rank.returncode for rank in ranks] == [0] * len(hosts), "\n".join(said)
    assert all(" ran " in text for text in said)


def script(folder: Path, cases: str) -> Path:
    path = folder / "program.py"
    path.write_text(PROGRAM.replace("{cases}", cases))
    return path


def test_two_hosts(network: Network, tmp_path: Path) -> None:
    run(network, [0, 1], script(tmp_path, FEW))


@pytest.mark.slow
@pytest.mark.parametrize("hosts", LAYOUTS, ids=str)
def test_a_covering_sample(network: Network, tmp_path: Path, hosts: list[int]) -> None:
    run(network, hosts, script(tmp_path, SAMPLE))


@pytest.mark.slow
def test_delay_and_loss(network: Network, tmp_path: Path) -> None:
    try:
        for host in range(3):
            network.impair(host, "delay", "1ms", "1ms", "loss", "1%")
    except Unavailable as why:
        pytest.skip(f"this kernel makes no cable slow or lossy: {why}")
    run(network, [0, 1, 2], script(tmp_path, FEW))


@pytest.mark.parametrize(
    ("hosts", "kind"),
    [
        ([0, 1], "one_phase"),
        *(pytest.param([0, 0, 1, 2], kind, marks=pytest.mark.slow) for kind in ("staged", "barrier")),
    ],
    ids=str,
)
def test_a_cable_is_pulled(network: Network, hosts: list[int], kind: str) -> None:
    ranks: list[Rank] = []
    try:
        for host, environment in zip(hosts, environments(network, hosts, secrets.token_hex(16)), strict=True):
            ranks.append(Rank(environment, "repeat", {"kind": kind, "timeout": "2s"}, before=network.before(host)))
        for rank in ranks:
            rank.expect("ready")
        network.pull(hosts[-1])
        pulled = time.monotonic()
        errors = [rank.expect("error") for rank in ranks]
    finally:
        for rank in ranks:
            rank.end()
    for error in errors:
        assert error["kind"] in ("StallTimeout", "PeerFailure"), error
        assert error["at"] - pulled < 2 + SOON
