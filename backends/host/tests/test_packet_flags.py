"""Packet flags repeat after 2**32 - 1 launches: what an earlier round left must not pass for data of a later one."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hal_collectives.algorithms.registry import get

from .lanes import SECOND, Lanes, address, on_threads

FLAGS = 2**32 - 1
"""How many flags there are."""
COUNT = 300


def flag(launch: int) -> int:
    return launch % FLAGS + 1


@pytest.mark.parametrize("first", [0, FLAGS - 8, FLAGS - 7, 2 * FLAGS - 8, 3 * FLAGS - 5, 2**40 // FLAGS * FLAGS - 6])
@pytest.mark.parametrize("size", [2, 3])
def test_results_are_right_around_the_wrap(first: int, size: int) -> None:
    lanes = Lanes(size, first_launch=first)
    plan = get("all_reduce", "all_pairs_ll").build(size)

    def body(rank: int) -> int:
        run = lanes.load(rank, plan, COUNT)
        wrong = 0
        for i in range(20):
            x = np.arange(COUNT, dtype=np.int32) * (rank + 1) + i
            assert run.run(*address(x), *address(x), 30 * SECOND) == 0
            total = size * (size + 1) // 2
            wrong += int((x != np.arange(COUNT) * total + size * i).sum())
        return wrong

    assert on_threads([lambda rank=rank: body(rank) for rank in range(size)]) == [0] * size
    assert len({lane.launch for lane in lanes.lanes}) == 1


def test_plain_data_of_an_earlier_launch_is_no_packet() -> None:
    """What a plan left in scratch holds the flag of a later launch everywhere."""
    lanes = Lanes(2)
    plain, packets = get("all_reduce", "one_phase").build(2), get("all_reduce", "all_pairs_ll").build(2)

    def body(rank: int) -> list[int]:
        first, second = lanes.load(rank, plain, 10 * COUNT), lanes.load(rank, packets, COUNT)
        for launch in (3, 4):
            x = np.full(10 * COUNT, flag(launch), np.int32)
            assert first.run(*address(x), *address(x), 30 * SECOND) == 0
        results = set()
        for _ in range(2):
            if rank:
                time.sleep(0.1)  # time for the other to take what lies there
            x = np.full(COUNT, rank + 100, np.int32)
            assert second.run(*address(x), *address(x), 30 * SECOND) == 0
            results |= set(x.tolist())
        return list(results)

    assert on_threads([lambda rank=rank: body(rank) for rank in range(2)]) == [[201]] * 2


def test_packets_of_the_round_before_are_not_accepted() -> None:
    """Memory is full of packets with the flags that the first launches after the wrap expect."""
    lanes = Lanes(2, first_launch=FLAGS - 1)
    plan = get("all_reduce", "all_pairs_ll").build(2)
    for rank in range(2):
        halves = lanes.packets(rank).view(np.uint32).reshape(2, -1, 2)
        for launch in (FLAGS + 2, FLAGS + 3):  # two launches pass with the wrap itself
            halves[launch % 2, :] = (666, flag(launch))

    def body(rank: int) -> list[bool]:
        run = lanes.load(rank, plan, COUNT)
        right = []
        for i in range(12):
            x = np.full(COUNT, 10 * i + rank, np.int32)
            assert run.run(*address(x), *address(x), 30 * SECOND) == 0
            right.append(bool((x == 20 * i + 1).all()))
        return right

    assert on_threads([lambda rank=rank: body(rank) for rank in range(2)]) == [[True] * 12] * 2


def test_no_packet_is_left_after_the_wrap() -> None:
    """The members clear it when they meet, and not before all have arrived."""
    lanes = Lanes(2, first_launch=FLAGS - 1)
    plan = get("barrier", "all_pairs").build(2)
    for rank in range(2):
        lanes.packets(rank)[:] = 0xEE

    def body(rank: int) -> None:
        run = lanes.load(rank, plan, 0)
        assert run.run(0, 0, 0, 0, 30 * SECOND) == 0

    assert on_threads([lambda rank=rank: body(rank) for rank in range(2)]) == [None] * 2
    assert lanes.lanes[0].launch > FLAGS
    assert all((lanes.packets(rank) == 0).all() for rank in range(2))


def test_the_wrap_has_a_deadline() -> None:
    lanes = Lanes(2, first_launch=FLAGS - 1)
    run = lanes.load(0, get("barrier", "all_pairs").build(2), 0)
    assert run.run(0, 0, 0, 0, SECOND // 10) == 2
    assert lanes.lanes[0].failure()[:2] == (1, 0)
