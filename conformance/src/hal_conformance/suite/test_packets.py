"""Packets: data and flag that travel together, so that nobody has to signal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hal.channels import PacketChannel
from hal.interface.dtypes import DType, ReduceOp
from hal.plan.builder import PlanBuilder
from hal.plan.model import Plan
from hal_conformance import data, expect, litmus
from hal_conformance.data import Array
from hal_conformance.rank import Rank
from hal_conformance.repeating import from_before, repeat

clause = pytest.mark.clause
group = pytest.mark.ranks("group", least=2)
pair = pytest.mark.ranks("pair")


@clause("HAL-PKT-001", "HAL-PKT-002")
@group
def test_packets_arrive_whole(rank: Rank) -> None:
    for noise in (None, rank.random):
        plan = litmus.packet_ring(rank.size, 3, noise=noise)
        repeat(rank, plan, from_before, counts=(4, 64, 4096, 8192), launches=rank.times(100, 20))


@clause("HAL-PKT-003")
@pair
def test_packets_of_many_launches(rank: Rank) -> None:
    plan = litmus.packet_ring(2, 1)
    repeat(rank, plan, from_before, counts=(4,), launches=rank.times(3000, 300))
    repeat(rank, plan, from_before, counts=(4096,), launches=rank.times(300, 50))


@clause("HAL-PKT-003")
@pair
@pytest.mark.full
def test_flags_that_come_round_again(rank: Rank) -> None:
    """More launches than a short flag can count; only the last few of each stretch are looked at."""
    plan = litmus.packet_ring(2, 1)
    executable = rank.load(plan, 8)
    source, target = rank.allocate(8), rank.allocate(8)
    for stretch in range(5):
        for _ in range(16_400):
            rank.start(executable, source, target)
        inputs = data.numbers(rank.random, 2, 8, DType.UINT8)
        rank.write(source, inputs[rank.id])
        rank.device.fill(target.address, 0xEE, 8)
        rank.start(executable, source, target)
        seen = rank.from_device(target, 8, DType.UINT8)
        expect.same_bits(seen, inputs[1 - rank.id], f"packets after {(stretch + 1) * 16_401} launches")


@clause("HAL-PKT-004")
@group
def test_any_length(rank: Rank) -> None:
    plan = litmus.packet_ring(rank.size, 2)
    counts = [count for count in data.COUNTS if count] if not rank.quick else [1, 2, 3, 5, 63, 65, 1023, 4097]
    repeat(rank, plan, from_before, counts=counts, launches=rank.times(10, 4))


@clause("HAL-PKT-005")
@group
def test_data_that_looks_like_flags(rank: Rank) -> None:
    plan = litmus.packet_ring(rank.size, 1)
    count = 256
    executable = rank.load(plan, count, DType.UINT32)
    source, target = rank.allocate(count * 4), rank.allocate(count * 4)
    for launch in range(rank.times(600, 150)):
        near = np.arange(count, dtype=np.uint32) // 4 + np.uint32(launch)
        patterns = [near + np.uint32(part) for part in range(2)] + [np.full(count, 0, np.uint32), ~near]
        mine = patterns[(launch + rank.id) % 4] ^ np.uint32(rank.id << 16)
        before = (rank.id - 1) % rank.size
        wanted = patterns[(launch + before) % 4] ^ np.uint32(before << 16)
        rank.write(source, mine)
        rank.start(executable, source, target)
        seen = rank.from_device(target, count, DType.UINT32)
        expect.same_bits(seen, wanted, f"data like the flags of launches near {launch}")


def _mixed(ranks: int, relay: bool) -> Plan:
    """all_reduce whose sources are packets of the others among the own plain input; with `relay` along a chain."""
    p = PlanBuilder("all_reduce", name="packets_relayed" if relay else "packets_mixed", ranks=ranks, in_place=False)
    for rank in p.ranks:
        block = rank.block()
        if relay:
            sources = [rank.scratch[0].packets, rank.input[0]] if rank.id else [rank.input[0]]
            if rank.id < ranks - 1:
                block.reduce(p.ranks[rank.id + 1].scratch[0].packets, sources)
                block.copy(rank.output[0], rank.scratch[1].packets)
            else:
                for other in rank.others:
                    block.reduce(other.scratch[1].packets, sources)
                block.reduce(rank.output[0], sources, final=True)
            continue
        for other in rank.others:
            block.copy(other.scratch[rank.id].packets, rank.input[0])
        sources = [rank.input[0] if r is rank else rank.scratch[r.id].packets for r in p.ranks]
        block.reduce(rank.output[0], sources, final=True)
    return p.build()


@clause("HAL-PKT-006", "HAL-PKT-007")
@group
@pytest.mark.parametrize("relay", [False, True], ids=["mixed", "relayed"])
def test_packets_among_the_operands(rank: Rank, relay: bool) -> None:
    plan = _mixed(rank.size, relay)
    for dtype in (DType.INT8, DType.FLOAT16, DType.FLOAT32, DType.INT64):
        for count in (1, 3, 17, 1000, 4097):
            inputs = data.numbers(rank.random, rank.size, count, dtype)
            wanted = data.reduced(inputs, dtype, ReduceOp.SUM)
            for seen in rank.run(plan, inputs, count=count, launches=rank.times(5, 2)):
                expect.same_bits(seen, wanted, f"the sum of {count} {dtype.label}")


@clause("HAL-PKT-008")
@pair
def test_packets_from_python(rank: Rank) -> None:
    channel = PacketChannel(rank.group, 1 - rank.id)
    for turn in range(rank.times(200, 60)):
        nbytes = rank.random.choice([1, 3, 4, 8, 100, 1000])
        message = data.random_bytes(rank.random, nbytes)
        sends = rank.random.randrange(2) == rank.id
        memory = rank.to_device(message if sends else np.zeros(nbytes, np.uint8))
        rank.delay()
        if sends:
            channel.put(memory)
        else:
            channel.accept(memory)
            seen = np.frombuffer(rank.read(memory), np.uint8)
            expect.same_bits(seen, message, f"{nbytes} bytes in packets, turn {turn}")
        rank.device.free(memory)


@clause("HAL-PKT-001", "HAL-PKT-003")
@group
def test_ranks_that_run_ahead(rank: Rank) -> None:
    """No rank waits for its reader, so that a sender may be a launch ahead of it."""

    def wanted(inputs: Sequence[Array], number: int) -> Array:
        return inputs[number - 1]

    plan = litmus.packet_ring(rank.size, 1)
    executable = rank.load(plan, 64)
    launches = rank.times(200, 50)
    every = [data.numbers(rank.random, rank.size, 64, DType.UINT8) for _ in range(launches)]
    sources = [rank.to_device(inputs[rank.id]) for inputs in every]
    targets = [rank.to_device(np.zeros(64, np.uint8)) for _ in every]
    for source, target in zip(sources, targets, strict=True):
        rank.delay(0.001)
        rank.start(executable, source, target)
    for launch, (target, inputs) in enumerate(zip(targets, every, strict=True)):
        expect.same_bits(rank.from_device(target, 64, DType.UINT8), wanted(inputs, rank.id), f"launch {launch}")
