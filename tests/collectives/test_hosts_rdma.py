"""Collectives of ranks on several hosts over RDMA, and over RDMA and mapped memory; `make test-rxe` has a device."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from hal.interface.dtypes import DType
from hal_collectives import Communicator
from hal_ib.ports import ports

from .cases import covering, matrix
from .hosts import run_on_hosts
from .test_hosts import check, check_ports, reading

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ports(), reason="this machine has no RDMA device; `make test-rxe` makes one"),
]
SHARES = 8
RDMA: dict[str, Any] = {"transports": "ib", "host__scratch_size": "1M", "timeout": 60.0}
MIXED = {**RDMA, "transports": ["ib,tcp", "ib,tcp", "ib,tcp", "tcp"]}
"""On the hosts aabc: ranks 0 and 1 share memory, both reach rank 2 by ib, and all reach rank 3 by TCP."""


@pytest.mark.parametrize("hosts", [pytest.param("ab", marks=pytest.mark.exhaustive), "aba"])
def test_a_covering_sample(hosts: str) -> None:
    cases = covering(matrix(dtypes=[DType.INT32, DType.FLOAT16], counts=[0, 1, 1000], memories=["plain"]), 1, 2)
    check(hosts, cases, seed=6, **RDMA)


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("hosts", ["ab", "aab"])
def test_the_whole_matrix(hosts: str, share: int) -> None:
    """In shares of some minutes; plain memory, since between hosts memory of any kind goes through scratch."""
    cases = list(matrix(memories=["plain"]))
    random.Random(5).shuffle(cases)
    check(hosts, cases[share::SHARES], share, **RDMA | {"host__scratch_size": "4M"})


@pytest.mark.exhaustive
def test_the_transports_of_a_pair_are_those_that_both_may_use() -> None:
    assert run_on_hosts("aabc", lambda c: float(c.all_reduce(np.ones(1))[0]), **MIXED) == [4.0] * 4


@pytest.mark.exhaustive
def test_a_covering_sample_over_mapped_memory_ib_and_tcp() -> None:
    check("aabc", covering(matrix(dtypes=[DType.INT32], counts=[1, 1000], memories=["plain"]), 2, 2), 7, **MIXED)


@pytest.mark.parametrize("queues", [pytest.param(1, marks=pytest.mark.exhaustive), 2])
def test_messages_larger_than_scratch(queues: int) -> None:
    """With several queues large puts are spread over them."""

    def body(comm: Communicator) -> None:
        for _ in range(2):
            x = np.arange(300_000, dtype=np.int32) * (comm.rank + 1)
            assert (comm.all_reduce(x) == np.arange(300_000, dtype=np.int32) * 3).all()

    run_on_hosts("ab", body, **RDMA, ib__queues=queues, ib__stripe_size="16K")


def test_port_channels() -> None:
    check_ports("ab", **RDMA)


def test_a_plan_that_reads_others_scratch() -> None:
    def body(comm: Communicator) -> None:
        x = np.arange(5000, dtype=np.int32) + comm.rank * 100_000
        y = np.zeros(2 * x.size, np.int32)
        call = comm.caller.group.load(reading(2), x.size, DType.INT32)
        for _ in range(3):
            y[:] = 0
            call.run(x.ctypes.data, x.nbytes, y.ctypes.data, y.nbytes, 60)
            assert (y[: x.size] == np.arange(x.size)).all()
            assert (y[x.size :] == np.arange(x.size) + 100_000).all()

    run_on_hosts("ab", body, **RDMA)
