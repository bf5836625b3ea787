"""Collectives of ranks on several hosts, over TCP alone and mixed with mapped memory, equal NumPy bit for bit."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hal.channels import MemoryChannel, PacketChannel, Semaphore, SwitchChannel
from hal.interface.dtypes import DType
from hal.interface.errors import BackendUnavailable, NotSupported, UsageError
from hal.plan.builder import PlanBuilder
from hal.plan.model import Plan
from hal_collectives import Communicator
from hal_collectives.algorithms import algorithms
from hal_host import segment

from .calling import Jobs, run_all, shown
from .cases import MOVING, REDUCING, Case, covering, matrix
from .hosts import LAYOUTS, on_hosts, run_on_hosts
from .plans import ports
from .test_processes import launch

MEMORIES = ["plain", "registered", "mixed"]


@functools.cache
def sample() -> list[Case]:
    return covering(matrix(memories=MEMORIES), seed=7, candidates=6)


def check(hosts: str, cases: list[Case], seed: int, **settings: object) -> None:
    jobs = Jobs(cases, len(hosts), seed)
    problems = shown(run_on_hosts(hosts, lambda comm: run_all(comm, jobs), **settings))
    assert not problems, f"\n{problems}"


@pytest.mark.parametrize("hosts", ["ab", "aba"])
def test_a_covering_sample(hosts: str) -> None:
    check(hosts, sample(), seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("hosts", LAYOUTS)
def test_a_covering_sample_on_every_layout(hosts: str) -> None:
    check(hosts, sample(), seed=4)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("collective", [*REDUCING, *MOVING])
@pytest.mark.parametrize("hosts", LAYOUTS)
def test_the_whole_matrix(hosts: str, collective: str) -> None:
    check(hosts, list(matrix([collective], memories=MEMORIES)), seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_processes(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rank a process, the last one on a host of its own."""
    monkeypatch.setenv("HAL_TCP_INTERFACE", "127.0.0.1")
    choose = f"import os\nos.environ['HAL_HOST_ID'] = 'ab'[os.environ['HAL_RANK'] == '{size - 1}']\n"
    launch(tmp_path, size, "covering(matrix(), seed=3, candidates=3)", choose)


def by_every_algorithm(collective: str, hosts: str, counts: Sequence[int]) -> None:
    cases = list(matrix([collective], [DType.INT32], counts, ["plain"]))
    for algorithm in algorithms(collective):
        if algorithm.supports(len(hosts)):
            check(hosts, cases, 9, host__scratch_size="16M", **{f"algorithms__{collective}": algorithm.name})


@pytest.mark.parametrize("collective", ["all_reduce", "all_to_all"])
def test_every_algorithm_on_two_hosts(collective: str) -> None:
    by_every_algorithm(collective, "abab", [1000])


@pytest.mark.slow
@pytest.mark.parametrize("hosts", ["abca"])
@pytest.mark.parametrize("collective", [c for c in (*REDUCING, *MOVING) if not c.endswith("_v")])
def test_every_algorithm(collective: str, hosts: str) -> None:
    by_every_algorithm(collective, hosts, [0, 1, 1000, 65537])


def test_groups_within_and_across_hosts() -> None:
    def body(comm: Communicator) -> None:
        for color in (comm.rank // 2, comm.rank % 2):
            part = comm.split(color)
            assert part is not None
            assert part.all_reduce(np.ones(5, np.int64))[0] == part.size
            part.close()
        assert comm.all_reduce(np.ones(5, np.int64))[0] == comm.size

    run_on_hosts("aabb", body)


def reading(size: int, *, packet: bool = False) -> Plan:
    """An all_gather in which everybody reads the others' scratch."""
    p = PlanBuilder("all_gather", name="reading", ranks=size)
    for rank in p.ranks:
        others = [other for other in p.ranks if other is not rank]
        block = rank.block()
        block.copy([rank.output[rank.id], rank.scratch[0]], rank.input[0])
        block.signal(others)
        block.wait(others)
        for other in others:
            block.copy(rank.output[other.id], other.scratch[0])
    return p.build()


@pytest.mark.parametrize("hosts", ["ab", "abb"])
def test_a_plan_that_reads_others_scratch(hosts: str) -> None:
    """Also where a rank closes the group while others still read."""

    def body(comm: Communicator) -> None:
        group = comm.caller.group
        x = np.arange(70_000, dtype=np.int32) + comm.rank * 100_000
        y = np.zeros(comm.size * x.size, np.int32)
        call = group.load(reading(comm.size), x.size, DType.INT32)
        for _ in range(5):
            y[:] = 0
            call.run(x.ctypes.data, x.nbytes, y.ctypes.data, y.nbytes, 20)
            wanted = np.concatenate([np.arange(x.size, dtype=np.int32) + r * 100_000 for r in range(comm.size)])
            assert (y == wanted).all()
        comm.close()

    run_on_hosts(hosts, body)


@pytest.mark.parametrize(("hosts", "ranks"), [("aabb", 2), ("abab", None), ("aab", None), ("aba", None), ("aa", 2)])
def test_hosts_are_nodes_where_they_are_alike(hosts: str, ranks: int | None) -> None:
    assert run_on_hosts(hosts, lambda comm: comm.caller.group.ranks_per_host) == [ranks] * len(hosts)


def check_ports(hosts: str, **settings: object) -> None:
    """A plan that posts through port channels, with signals of the posts' own and with others, gives what it must."""
    size, count = len(hosts), 5000
    inputs = np.random.default_rng(size).integers(-1000, 1000, (size, size, count)).astype(np.int32)

    def body(comm: Communicator) -> None:
        call = comm.caller.group.load(ports(size), count, DType.INT32)
        x, y = inputs[comm.rank].reshape(-1).copy(), np.zeros(count, np.int32)
        for _ in range(5):
            y[:] = 0
            call.run(x.ctypes.data, x.nbytes, y.ctypes.data, y.nbytes, 60)
            assert (y == inputs[:, comm.rank].sum(axis=0)).all()

    run_on_hosts(hosts, body, **settings)


@pytest.mark.parametrize("hosts", ["ab", "aba"])
def test_port_channels(hosts: str) -> None:
    check_ports(hosts)


def left() -> tuple[int, int, int]:
    """Descriptors, threads, and bytes of shared memory of this process."""
    assert segment._segment is not None
    return len(os.listdir("/proc/self/fd")), threading.active_count(), segment._segment.heap.used


def test_nothing_is_left() -> None:
    run_on_hosts("ab", lambda comm: comm.all_reduce(np.ones(10)))
    before, since = left(), time.monotonic()
    while time.monotonic() - since < 0.3:  # what earlier tests used may still go
        time.sleep(0.01)
        if left() != before:
            before, since = left(), time.monotonic()
    for _ in range(3):
        run_on_hosts("aab", lambda comm: comm.all_reduce(np.ones(10)))
    end = time.monotonic() + 5
    while any(now > then for now, then in zip(left(), before, strict=True)) and time.monotonic() < end:
        time.sleep(0.01)
    assert all(now <= then for now, then in zip(left(), before, strict=True)), (left(), before)


def refused(hosts: Sequence[str], **settings: object) -> list[BaseException | None]:
    """What each rank raises when the group is made."""
    errors: list[BaseException | None] = []
    with pytest.raises(Exception) as caught, on_hosts(hosts, errors=errors, **settings):
        pass
    assert caught.value in errors
    return errors


@pytest.mark.parametrize(
    ("transports", "rank"),
    [("none", "can use no transport"), (["tcp", "none"], "rank 1 on host 'b' can use no transport")],
)
def test_no_transport_reaches_a_pair(transports: object, rank: str) -> None:
    for error in refused("ab", transports=transports):
        assert isinstance(error, BackendUnavailable)
        assert "no transport connects rank 0 and rank 1" in str(error)
        assert rank in str(error)
        assert "`transports`" in str(error)


def test_a_transport_that_cannot_be_used_is_named_with_the_reason() -> None:
    for error in refused("aab", transports="tcp", tcp__interface=["127.0.0.1", "127.0.0.1", "no_such_interface"]):
        assert isinstance(error, BackendUnavailable)
        assert "no transport connects rank 0 and rank 2" in str(error)
        assert "not tcp:" in str(error)
        assert "no_such_interface" in str(error)


def test_a_transport_that_does_not_exist() -> None:
    for error in refused("aa", transports="tcpp"):
        assert isinstance(error, UsageError)
        assert "did you mean 'tcp'" in str(error)
    for error in refused("aa", transports="host"):
        assert isinstance(error, NotSupported)


def test_the_first_transport_that_both_can_use_is_taken() -> None:
    """ib has no device here, or no native door: the next one is taken, and the result is right."""
    assert run_on_hosts("ab", lambda c: float(c.all_reduce(np.ones(1))[0]), transports=["ib,tcp", "tcp"]) == [2.0, 2.0]


def test_channels_that_reach_buffers_of_other_hosts_are_refused() -> None:
    """Those of one host work, and so do packets and semaphores; what is refused is refused before anything is done."""

    def body(comm: Communicator) -> bytes:
        group, device = comm.caller.group, comm.device
        source, target = device.allocate(100), device.allocate(100)
        device.fill(source.address, 10 + comm.rank, 100)
        device.fill(target.address, 0, 100)
        if comm.rank < 2:
            near = MemoryChannel(group, 1 - comm.rank)
            near.put(source) if comm.rank == 0 else near.accept(target)
        if comm.rank > 0:
            far = PacketChannel(group, 3 - comm.rank)
            far.accept(target) if comm.rank == 2 else far.put(source)
            signal = Semaphore(group, 3 - comm.rank)
            signal.signal() if comm.rank == 1 else signal.wait()
        for refused in (
            lambda: MemoryChannel(group, 2 if comm.rank == 0 else 0).put(source),
            lambda: SwitchChannel(group).store(source, target, root=0),
        ):
            if comm.rank != 1:
                with pytest.raises(UsageError, match="on ranks that share a host"):
                    refused()
        comm.barrier()
        got = ctypes.string_at(target.address, 100)
        for memory in (source, target):
            device.free(memory)
        return got

    assert run_on_hosts("aab", body) == [bytes(100), bytes([10]) * 100, bytes([11]) * 100]
