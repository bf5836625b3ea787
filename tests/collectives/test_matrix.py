"""Every collective × type × operation × rank count × length × place × kind of memory agrees with NumPy, bit for bit.

The algorithms that calls use by default reduce in the order of the ranks (docs/algorithms.md), so that there is no
tolerance for floats either: the result is NumPy's, accumulated in float32 for the narrow types (float64 for float64)
and rounded once. NaN equals NaN. Inputs of floats hold NaN, infinities, signed zeros, subnormals and extremes.
"""

from __future__ import annotations

import functools
import random

import pytest

from hal_collectives import Communicator, run_local

from .calling import Jobs, run_all, shown
from .cases import MOVING, REDUCING, Case, covering, matrix

FEW = [1, 2, 3, 4, 5]
MANY = [7, 8, 16]


def legal(cases: list[Case], size: int) -> list[Case]:
    return [c for c in cases if size > 1 or c.collective != "send_recv"]


def check(size: int, cases: list[Case], seed: int) -> None:
    jobs = Jobs(legal(cases, size), size, seed)
    problems = shown(run_local(size, run_all, jobs, timeout=20))
    assert not problems, f"\n{problems}"


@functools.cache
def sample() -> list[Case]:
    return covering(matrix(memories=["plain", "registered", "mixed"]), seed=1)


@pytest.mark.parametrize("size", FEW)
def test_a_covering_sample(size: int) -> None:
    check(size, sample(), seed=size)


@pytest.mark.parametrize("size", MANY)
def test_many_ranks_share_a_covering_sample(size: int) -> None:
    check(size, sample()[MANY.index(size) :: len(MANY)], seed=size)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("collective", [*REDUCING, *MOVING])
@pytest.mark.parametrize("size", [1, 2, 3, *(pytest.param(size, marks=pytest.mark.exhaustive) for size in (4, 5))])
def test_the_whole_matrix(size: int, collective: str) -> None:
    check(size, list(matrix([collective])), seed=size)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("collective", [*REDUCING, *MOVING])
@pytest.mark.parametrize("size", MANY)
def test_many_ranks_and_a_part_of_the_matrix(size: int, collective: str) -> None:
    check(size, _share(size, collective, 24), seed=size)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("collective", [*REDUCING, *MOVING])
@pytest.mark.parametrize("size", MANY)
def test_many_ranks_and_the_whole_matrix(size: int, collective: str) -> None:
    check(size, _share(size, collective, 1), seed=size)


def _share(size: int, collective: str, parts: int) -> list[Case]:
    """One of so many parts of a collective's cases, by chance."""
    cases = list(matrix([collective]))
    if collective.endswith("_v"):
        parts *= 3  # nearly every case has counts of its own, and so plans to prepare on every rank
    return random.Random(f"{size} {collective}").sample(cases, len(cases) // parts)


@pytest.mark.parametrize("size", [*FEW, *MANY])
def test_nobody_leaves_a_barrier_before_all_have_come(size: int) -> None:
    entered = [0] * size

    def body(comm: Communicator) -> list[int]:
        seen = []
        for turn in range(1, 101):
            entered[comm.rank] = turn
            comm.barrier()
            seen.append(min(entered) - turn)
        return seen

    for seen in run_local(size, body, timeout=20):
        assert min(seen) >= 0
