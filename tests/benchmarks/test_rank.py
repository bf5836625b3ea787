from typing import Any

import numpy as np
import pytest
from benchmarks.host.adapters.hal import Hal
from benchmarks.host.cases import COLLECTIVES
from benchmarks.host.rank import Rank, contribution, expected

import hal_collectives

RANKS = 3
SIZE = 3 * 4 * 16


def serve(order, adapter_class=Hal) -> list[Any]:
    """What `order(rank)` returns on every rank of a job whose ranks are threads."""

    def body(comm: hal_collectives.Communicator) -> Any:
        return order(Rank(adapter_class(comm)))

    return hal_collectives.run_local(RANKS, body, timeout=30)


@pytest.mark.parametrize("kind", ["plain", "registered"])
@pytest.mark.parametrize("collective", COLLECTIVES)
def test_every_collective_is_checked_and_timed(collective: str, kind: str):
    size = 0 if collective == "barrier" else SIZE

    def order(rank: Rank) -> Any:
        prepared = rank.prepare(collective=collective, size=size, source="dirty", kind=kind)
        return prepared, rank.run(kind=kind, iterations=4, warmup=1), rank.release(kind=kind)

    for prepared, times, released in serve(order):
        assert prepared == released == {}
        assert times["total"] > 0
        assert times["fill"] > 0


def test_nothing_is_refilled_where_the_source_is_clean():
    def order(rank: Rank) -> Any:
        rank.prepare(collective="all_reduce", size=SIZE, source="clean", kind="plain")
        return rank.run(kind="plain", iterations=4, warmup=1)

    assert all(times["fill"] == 0 for times in serve(order))


class Forgetful(Hal):
    """Loses one element of the result on rank 1."""

    def calls(self, collective, source, target):
        ((function, arguments),) = super().calls(collective, source, target)

        def call(*args):
            function(*args)
            if self.rank == 1:
                target[5] += 1

        return [(call, arguments)]


def test_a_wrong_element_is_found_by_its_rank():
    def order(rank: Rank) -> Any:
        return rank.prepare(collective="all_reduce", size=SIZE, source="clean", kind="plain")

    replies = serve(order, Forgetful)
    assert replies == [{}, {"wrong": "1 of 48 elements are wrong on rank 1"}, {}]


def test_expected_sum_is_that_of_the_contributions_beyond_a_period():
    whole = sum(contribution(rank, 0, 4096) for rank in range(4))
    assert np.array_equal(expected("all_reduce", 0, 4, 4096, 0), whole)
    assert np.array_equal(expected("reduce_scatter", 2, 4, 1024, 0), whole[2048:3072])
