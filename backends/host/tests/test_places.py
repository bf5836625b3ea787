"""Where launches have scratch: long ones go round in their half of it, short ones and crowds stay at its start."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

from hal_collectives.algorithms import get

from .lanes import SECOND, Lanes, address, on_threads

HALF = 1 << 16


def places(lanes: Lanes, calls: list[tuple[int, int]], **changes: bool) -> list[int]:
    """Run calls of (bytes, value) one after the other, and say where in scratch each left its value."""
    plan = get("send_recv", "publish").build(2)
    found, half = [], lanes.lanes[0].scratch_bytes
    for nbytes, value in calls:
        source, target = np.full(nbytes, value, np.uint8), np.zeros(nbytes, np.uint8)
        ready = [lanes.load(rank, plan, nbytes // 4, **changes) for rank in range(2)]
        ends = [(*address(source), 0, 0), (0, 0, *address(target))]
        assert on_threads([functools.partial(ready[r].run, *ends[r], 30 * SECOND) for r in range(2)]) == [0, 0]
        assert (target == value).all()
        places = np.flatnonzero(lanes.scratch(0)[: 2 * half] == value)
        assert len(places) == nbytes
        found.append(int(places[0]))
    return found


@pytest.mark.parametrize(
    ("nbytes", "step"), [(8192, 8192), (4100, 8192), (8196, 16384), (HALF // 2, HALF // 2), (HALF, HALF)]
)
def test_long_launches_go_round(nbytes: int, step: int) -> None:
    count = 2 * (HALF // step)
    found = places(Lanes(2, scratch=HALF), [(nbytes, 1 + i) for i in range(count)])
    assert sorted(found) == [i * step for i in range(count)]
    assert all((a < HALF) != (b < HALF) for a, b in itertools.pairwise(found))


def test_launches_go_round_in_a_part_of_much_scratch() -> None:
    """In a mebibyte of each half; beyond that they take what they need."""
    half, nbytes = 4 << 20, 300 << 10
    found = places(Lanes(2, scratch=half), [(nbytes, 1 + i) for i in range(8)])
    assert sorted(set(found)) == [base + place for base in (0, half) for place in (0, 512 << 10)]
    found = places(Lanes(2, scratch=half), [((1 << 20) + 4, 1 + i) for i in range(8)])
    assert sorted(set(found)) == [base + place for base in (0, half) for place in (0, 2 << 20)]


def test_short_launches_stay() -> None:
    assert sorted(set(places(Lanes(2, scratch=HALF), [(4096, 1 + i) for i in range(6)]))) == [0, HALF]


@pytest.mark.parametrize("roams", [False, True])
def test_short_launches_have_two_places_in_each_half_where_members_go_on(roams: bool) -> None:
    found = places(Lanes(2, scratch=HALF, roams=roams), [(4096, 1 + i) for i in range(6)], goes_on=True)
    assert sorted(set(found)) == [0, HALF // 2, HALF, HALF + HALF // 2]


def test_launches_of_a_crowd_stay() -> None:
    assert sorted(set(places(Lanes(2, scratch=HALF, roams=False), [(8192, 1 + i) for i in range(6)]))) == [0, HALF]


def test_launches_of_any_lengths_take_turns_between_the_halves() -> None:
    sizes = np.random.default_rng(1).choice([84, 4096, 4100, 20000, HALF], 60).tolist()
    found = places(Lanes(2, scratch=HALF), [(int(nbytes), 1 + i) for i, nbytes in enumerate(sizes)])
    assert all((a < HALF) != (b < HALF) for a, b in itertools.pairwise(found))
