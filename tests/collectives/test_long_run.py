"""Thousands of calls in a row, as a program makes them: all kinds mixed, their arguments at random."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal_collectives import Communicator, run_local

from .calling import Jobs, run_all, shown
from .cases import MOVING, REDUCING, WITHOUT_NEW_OUTPUT, Case


def random_cases(number: int, seed: int, longest: int) -> list[Case]:
    """Few lengths and types come again and again, so that remembered calls are met among new ones."""
    chance = random.Random(seed)
    usual = [chance.randrange(0, longest) for _ in range(6)]
    cases = []
    for _ in range(number):
        collective = chance.choice([*REDUCING, *MOVING])
        dtype = chance.choice(list(DType))
        ops = [op for op in ReduceOp if not (op.is_bitwise and dtype.is_float)]
        case = Case(
            collective,
            dtype,
            chance.choice(ops) if collective in REDUCING else ReduceOp.SUM,
            chance.choice(usual) if chance.random() < 0.7 else int(longest ** chance.random()),
            chance.choice(["in", "out"] if collective in WITHOUT_NEW_OUTPUT else ["in", "out", "new"]),
            chance.choice(["plain", "registered", "mixed"]),
            chance.random(),
        )
        cases.append(replace(case, place="out") if collective == "send_recv" else case)
    return cases


def check(size: int, number: int, seed: int, longest: int) -> None:
    jobs = Jobs(random_cases(number, seed, longest), size, seed)
    problems = shown(run_local(size, run_all, jobs, timeout=20))
    assert not problems, f"\n{problems}"


def test_two_thousand_calls() -> None:
    check(4, 2000, seed=1, longest=3000)


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [2, 3, 5, 6])
def test_four_thousand_calls(size: int) -> None:
    check(size, 4_000, seed=size, longest=1000 if size > 4 else 10_000)


def test_several_groups_take_turns() -> None:
    """The world, halves of it and halves across, each with random calls of its own between the others'."""
    worlds = Jobs(random_cases(60, 10, 1000), 4, 10)
    halves = [Jobs(random_cases(60, 20 + k, 1000), 2, 20 + k) for k in range(4)]

    def body(comm: Communicator) -> list[str]:
        half, across = comm.split(comm.rank // 2), comm.split(comm.rank % 2)
        assert half is not None
        assert across is not None
        wrong = []
        for turn in range(60):
            for group, jobs in (
                (comm, worlds),
                (half, halves[comm.rank // 2]),
                (across, halves[2 + comm.rank % 2]),
            ):
                wrong += run_all(group, jobs, only=turn)
        return wrong

    problems = shown(run_local(4, body, timeout=20))
    assert not problems, f"\n{problems}"
