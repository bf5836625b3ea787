"""Asynchronous transfers: posts, their signals, their order, and what a flush promises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hal.channels import PortChannel
from hal.interface.device import Memory
from hal.plan.builder import PlanBuilder
from hal.plan.model import Plan
from hal_conformance import expect, litmus
from hal_conformance.data import COUNTS, Array, random_bytes
from hal_conformance.rank import Rank
from hal_conformance.repeating import chunks, from_before, inputs_of, repeat

clause = pytest.mark.clause
group = pytest.mark.ranks("group", least=2)
pair = pytest.mark.ranks("pair")

SHORT = (1, 64, 1021)
GUARD = 256


def _posts(ranks: int) -> Plan:
    """Each rank posts its input to the output of the next one."""
    p = PlanBuilder("custom", name="posts", ranks=ranks, input_chunks=1, output_chunks=1, in_place=False)
    for rank in p.ranks:
        before, after = p.ranks[rank.id - 1], p.ranks[(rank.id + 1) % ranks]
        block = rank.block()
        block.signal([before], channel=1)
        block.wait([after], channel=1)
        block.post(after.output[0], rank.input[0], signal=True, channel=0)
        block.flush(after, channel=0)
        block.wait([before], port=True, channel=0)
    return p.build()


@clause("HAL-PCH-001", "HAL-EXE-020")
@group
def test_exactly_the_range(rank: Rank) -> None:
    plan = _posts(rank.size)
    for count in COUNTS:
        executable = rank.load(plan, count)
        for shift in (0, 1, 8):
            inputs = inputs_of(rank, plan, count)
            around = count + 2 * GUARD
            source, target = rank.to_device(inputs[rank.id]), rank.allocate(around)
            rank.device.fill(target.address, 0x22, around)
            rank.start(executable, source, Memory(target.address + GUARD + shift, count, rank.device))
            wanted = np.full(around, 0x22, np.uint8)
            wanted[GUARD + shift : GUARD + shift + count] = inputs[rank.id - 1]
            seen = np.frombuffer(rank.read(target), np.uint8)
            expect.same_bits(seen, wanted, f"the output and around it, {count} bytes, {shift} beyond a boundary")


@clause("HAL-PCH-002")
@group
@pytest.mark.parametrize("flush", [False, True])
def test_put_then_signal(rank: Rank, flush: bool) -> None:
    for noise in (None, rank.random):
        plan = litmus.posted(rank.size, 8, flush=flush, separate=False, noise=noise)
        repeat(rank, plan, from_before, launches=rank.times(40, 10))


@clause("HAL-PCH-003")
@group
@pytest.mark.parametrize("flush", [False, True])
def test_put_then_a_signal_of_its_own(rank: Rank, flush: bool) -> None:
    for noise in (None, rank.random):
        plan = litmus.posted(rank.size, 8, flush=flush, separate=True, noise=noise)
        repeat(rank, plan, from_before, counts=SHORT, launches=rank.times(40, 10))


@clause("HAL-PCH-004")
@group
def test_flush(rank: Rank) -> None:
    repeat(rank, litmus.flushed(rank.size, 16), from_before, launches=rank.times(40, 10))


@clause("HAL-PCH-005")
@pair
def test_a_flush_of_nothing(rank: Rank) -> None:
    p = PlanBuilder("custom", name="flush_nothing", ranks=2, input_chunks=1, output_chunks=1)
    for side in p.ranks:
        (other,) = side.others
        block = side.block()
        for _ in range(50):
            block.flush(other)
        block.copy(side.output[0], side.input[0])
    plan = p.build()
    inputs = inputs_of(rank, plan, 100)
    for seen in rank.run(plan, inputs, count=100, launches=20):
        expect.same_bits(seen, inputs[rank.id], "what is copied after fifty flushes of nothing")


@clause("HAL-PCH-006")
@group
def test_posts_take_effect_in_order(rank: Rank) -> None:
    rounds = 60

    def wanted(inputs: Sequence[Array], number: int) -> Array:
        return chunks(inputs[number - 1], rounds)[-1]

    repeat(rank, litmus.in_order(rank.size, rounds), wanted, counts=(1, 64, 4096), launches=rank.times(40, 10))


@clause("HAL-PCH-007")
@pair
def test_beside_memory_channels(rank: Rank) -> None:
    repeat(rank, litmus.both_kinds(8), from_before, counts=SHORT, launches=rank.times(60, 15))


@clause("HAL-PCH-008")
@pair
@pytest.mark.parametrize("flush", [False, True])
def test_posts_from_python(rank: Rank, flush: bool) -> None:
    channel = PortChannel(rank.group, 1 - rank.id)
    for turn in range(rank.times(200, 50)):
        nbytes = rank.random.choice([1, 4, 100, 4096, 5000])
        data = random_bytes(rank.random, nbytes)
        sends = rank.random.randrange(2) == rank.id
        memory = rank.to_device(data if sends else np.zeros(nbytes, np.uint8))
        rank.delay()
        if sends:
            channel.post(memory, flush=flush)
        else:
            channel.accept(memory, flush=flush)
            expect.same_bits(np.frombuffer(rank.read(memory), np.uint8), data, f"{nbytes} bytes posted, turn {turn}")
        rank.device.free(memory)
