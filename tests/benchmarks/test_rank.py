from typing import Any

import numpy as np
import pytest
from benchmarks.host.adapters.hal import Hal
from benchmarks.host.cases import COLLECTIVES, FORMS
from benchmarks.host.rank import Rank, contribution, expected

import hal_collectives

RANKS = 3
SIZE = 3 * 4 * 16


def serve(order, adapter_class=Hal, ranks=RANKS) -> list[Any]:
    """What `order(rank)` returns on every rank of a job whose ranks are threads."""

    def body(comm: hal_collectives.Communicator) -> Any:
        return order(Rank(adapter_class(comm)))

    return hal_collectives.run_local(ranks, body, timeout=30)


@pytest.mark.parametrize("kind", ["plain", "registered"])
@pytest.mark.parametrize(("collective", "form"), [(name, form) for name in COLLECTIVES for form in FORMS[name]])
def test_every_collective_is_checked_and_timed(collective: str, form: str, kind: str):
    size = 0 if collective == "barrier" else SIZE

    def order(rank: Rank) -> Any:
        prepared = rank.prepare(collective=collective, size=size, source="dirty", form=form, kind=kind)
        return prepared, rank.run(kind=kind, iterations=4, warmup=1), rank.release(kind=kind)

    for prepared, times, released in serve(order, ranks=2 if collective == "send_recv" else RANKS):
        assert prepared == released == {}
        assert times["total"] > 0
        assert times["fill"] > 0


def test_nothing_is_refilled_where_the_source_is_clean():
    def order(rank: Rank) -> Any:
        rank.prepare(collective="all_reduce", size=SIZE, source="clean", form="in_place", kind="plain")
        return rank.run(kind="plain", iterations=4, warmup=1)

    assert all(times["fill"] == 0 for times in serve(order))


class Forgetful(Hal):
    """Loses one element of the result on rank 1."""

    def calls(self, collective, source, target, *, in_place, kind):
        ((function, arguments),) = super().calls(collective, source, target, in_place=in_place, kind=kind)

        def call(*args):
            function(*args)
            if self.rank == 1:
                target[5] += 1

        return [(call, arguments)]


def test_a_wrong_element_is_found_by_its_rank():
    def order(rank: Rank) -> Any:
        return rank.prepare(collective="all_reduce", size=SIZE, source="clean", form="in_place", kind="plain")

    replies = serve(order, Forgetful)
    assert replies == [{}, {"wrong": "1 of 48 elements are wrong on rank 1"}, {}]


def test_expected_sum_is_that_of_the_contributions_beyond_a_period():
    def check(collective: str, rank: int, count: int, want: Any) -> None:
        assert np.array_equal(expected(collective, rank, 4, count, 0), want)

    whole = sum(contribution(rank, 0, 4096) for rank in range(4))
    check("all_reduce", 0, 4096, whole)
    check("reduce_scatter", 2, 1024, whole[2048:3072])


def test_only_the_root_of_a_reduce_and_the_receiver_of_a_message_have_a_result():
    assert [expected("reduce", rank, 3, 8, turn=1) is None for rank in range(3)] == [True, False, True]
    # the even rank sends first
    assert [expected("send_recv", rank, 2, 8, turn=0) is None for rank in range(2)] == [True, False]
    assert [expected("send_recv", rank, 2, 8, turn=1) is None for rank in range(2)] == [False, True]
    assert np.array_equal(expected("send_recv", 1, 2, 8, turn=0), contribution(0, 0, 8))
