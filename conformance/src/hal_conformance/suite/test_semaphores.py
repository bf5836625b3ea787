"""Signals, semaphores and barriers: that they count, that they wait, and what they order."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from hal.channels import Semaphore
from hal.interface.errors import StallTimeout
from hal_conformance import expect, litmus
from hal_conformance.data import Array
from hal_conformance.rank import Rank
from hal_conformance.repeating import chunks, from_before, inputs_of, own, repeat

clause = pytest.mark.clause
group = pytest.mark.ranks("group", least=2)
pair = pytest.mark.ranks("pair")

SHORT = (1, 64, 1021)


@clause("HAL-SEM-001", "HAL-SEM-002", "HAL-ORD-001", "HAL-ORD-007")
@group
@pytest.mark.parametrize("get", [False, True], ids=["put", "get"])
def test_message_passing(rank: Rank, get: bool) -> None:
    for turn in range(rank.times(4, 2)):
        noise = rank.random if turn % 2 else None
        plan = litmus.message_passing(rank.size, 8, get=get, noise=noise)
        repeat(rank, plan, from_before, launches=rank.times(40, 10))


@clause("HAL-ORD-001", "HAL-SEM-002")
@group
@pytest.mark.full
def test_message_passing_beside_busy_threads(rank: Rank) -> None:
    stop = threading.Event()

    def spin() -> None:
        array = np.arange(100_000)
        while not stop.is_set():
            array.sum()

    threads = [threading.Thread(target=spin) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        plan = litmus.message_passing(rank.size, 8, get=False, noise=rank.random)
        repeat(rank, plan, from_before, counts=SHORT, launches=10)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


@clause("HAL-ORD-003", "HAL-SEM-006")
@group
def test_store_buffering(rank: Rank) -> None:
    rounds = 6
    for turn in range(rank.times(3, 1)):
        plan = litmus.store_buffering(rank.size, rounds, noise=rank.random if turn % 2 else None)

        def wanted(inputs: Sequence[Array], number: int) -> Array:
            order = [(number + step) % rank.size for step in range(1, rank.size)]
            return np.concatenate([chunks(inputs[other], rounds)[turn] for turn in range(rounds) for other in order])

        repeat(rank, plan, wanted, counts=SHORT, launches=rank.times(40, 15))


@clause("HAL-ORD-002")
@pytest.mark.ranks("group", least=3)
def test_handed_on(rank: Rank) -> None:
    _handed_on(rank)


@clause("HAL-ORD-002")
@pair
def test_handed_on_between_two(rank: Rank) -> None:
    _handed_on(rank)


def _handed_on(rank: Rank) -> None:
    for turn in range(rank.times(6, 2)):
        plan = litmus.handed_on(rank.size, 8, noise=rank.random if turn % 2 else None)
        for launch in range(20):
            for count in SHORT:
                inputs = inputs_of(rank, plan, count)
                (seen,) = rank.run(plan, inputs, count=count)
                if rank.id == rank.size - 1:
                    expect.same_bits(seen, inputs[0], f"what was handed on, launch {launch}, chunks of {count} bytes")


@clause("HAL-ORD-006", "HAL-ORD-010")
@group
def test_what_one_block_waits_for_another_reads_after_a_semaphore(rank: Rank) -> None:
    for noise in (None, rank.random):
        plan = litmus.across_blocks(rank.size, 8, barrier=False, noise=noise)
        repeat(rank, plan, from_before, counts=SHORT, launches=rank.times(40, 10))


@clause("HAL-ORD-005", "HAL-ORD-010")
@group
def test_what_one_block_waits_for_another_reads_after_a_barrier(rank: Rank) -> None:
    for noise in (None, rank.random):
        plan = litmus.across_blocks(rank.size, 8, barrier=True, noise=noise)
        repeat(rank, plan, from_before, counts=SHORT, launches=rank.times(40, 10))


@clause("HAL-SEM-003")
@pair
def test_signals_of_one_launch_end_no_wait_of_another(rank: Rank) -> None:
    plan = litmus.message_passing(2, 1, get=False)
    repeat(rank, plan, from_before, counts=(1, 5000), launches=rank.times(1000, 150))


@clause("HAL-SEM-004")
@pair
def test_channels_are_independent(rank: Rank) -> None:
    repeat(rank, litmus.many_channels(6, 4), from_before, counts=SHORT, launches=rank.times(60, 15))


@clause("HAL-SEM-009")
@pair
def test_many_channels(rank: Rank) -> None:
    repeat(rank, litmus.many_channels(16, 2), from_before, counts=(1, 64), launches=rank.times(40, 10))


@clause("HAL-SEM-005")
@pair
def test_directions_are_independent(rank: Rank) -> None:
    repeat(rank, litmus.relaxed_signals(8, 0), from_before, counts=SHORT, launches=rank.times(60, 20))


@clause("HAL-SEM-008")
@pair
def test_relaxed_signals_count(rank: Rank) -> None:
    repeat(rank, litmus.relaxed_signals(4, 5), from_before, counts=SHORT, launches=rank.times(60, 20))


@clause("HAL-SEM-007")
@pair
def test_signals_far_ahead(rank: Rank) -> None:
    repeat(rank, litmus.far_ahead(4096), from_before, counts=(64,), launches=rank.times(10, 3))


@clause("HAL-SEM-010")
@pair
def test_signals_from_python(rank: Rank) -> None:
    semaphore = Semaphore(rank.group, 1 - rank.id)
    memory = rank.allocate(64)
    handle = rank.exchange(rank.device.export_memory(memory))[1 - rank.id]
    other = rank.device.import_memory(handle)
    for turn in range(rank.times(300, 60)):
        relaxed = turn % 3 == 0
        rank.delay()
        if turn % 2 == rank.id:
            rank.device.fill(other.address, turn % 256, 64)
            semaphore.signal(relaxed=relaxed)
            semaphore.wait()
        else:
            semaphore.wait(relaxed=relaxed)
            if not relaxed:
                expect.equal(rank.read(memory), bytes([turn % 256]) * 64, f"what was written before signal {turn}")
            semaphore.signal()


@clause("HAL-SEM-011")
@pair
def test_a_signal_that_does_not_come(rank: Rank) -> None:
    semaphore = Semaphore(rank.group, 1 - rank.id)
    if rank.id == 0:
        began = time.monotonic()
        expect.raises(StallTimeout, lambda: semaphore.wait(timeout=0.3), "a wait that nobody ends")
        expect.true(time.monotonic() - began >= 0.25, "the wait lasts until its deadline", time.monotonic() - began)
    rank.exchange()


# within one rank


@clause("HAL-SEM-012", "HAL-ORD-006")
@pytest.mark.parametrize("slots", [1, 2, 5])
def test_a_bounded_buffer(rank: Rank, slots: int) -> None:
    repeat(rank, litmus.bounded_buffer(40, slots), own, counts=SHORT, launches=rank.times(20, 5))


@clause("HAL-SEM-013")
@pytest.mark.parametrize("initial", [True, False])
def test_semaphores_begin_afresh(rank: Rank, initial: bool) -> None:
    plan = litmus.bounded_buffer(5, 3, initial=initial)
    repeat(rank, plan, own, counts=(16,), launches=rank.times(500, 100))


@clause("HAL-SEM-014", "HAL-ORD-005")
@pytest.mark.parametrize("blocks", [2, 3, 16])
def test_barriers(rank: Rank, blocks: int) -> None:
    rounds = 20

    def wanted(inputs: Sequence[Array], number: int) -> Array:
        parts = chunks(inputs[number], rounds * blocks)
        order = [turn * blocks + (block + 1) % blocks for turn in range(rounds) for block in range(blocks)]
        return np.concatenate([parts[index] for index in order])

    repeat(rank, litmus.barriers(rounds, blocks), wanted, counts=SHORT, launches=rank.times(20, 5))


@clause("HAL-SEM-015")
def test_two_barriers(rank: Rank) -> None:
    rounds = 20

    def wanted(inputs: Sequence[Array], number: int) -> Array:
        parts = chunks(inputs[number], rounds * 4)
        return np.concatenate([parts[turn * 4 + (block ^ 1)] for turn in range(rounds) for block in range(4)])

    repeat(rank, litmus.two_barriers(rounds), wanted, counts=SHORT, launches=rank.times(20, 5))
