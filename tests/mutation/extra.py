"""Hand-written plans with what no built-in algorithm uses: ports, semaphores, barriers, switches, parts, relaxed waits.

Each is a right plan for any number of ranks from 2 on.
"""

from __future__ import annotations

from dataclasses import replace

from hal.plan import PlanBuilder
from hal.plan.model import BufferKind, Channel, ChannelKind, Move, Plan, Span

UNIT = 128
"""Bytes of a piece of a loop: small, so that the reference runs several."""


def port_all_to_all(ranks: int) -> Plan:
    """Blocks go through one staging chunk, which is flushed before it is filled again."""
    p = PlanBuilder("all_to_all", name="port_flush", ranks=ranks, even=True)
    for rank in p.ranks:
        block = rank.block()
        for other in rank.others:
            block.copy(rank.scratch[0], rank.input[other.id])
            block.post(other.scratch[1 + rank.id], rank.scratch[0], signal=True)
            block.flush(other)
        block.copy(rank.output[rank.id], rank.input[rank.id])
        block.wait(rank.others, port=True)
        for other in rank.others:
            block.copy(rank.output[other.id], rank.scratch[1 + other.id])
    return p.build()


def port_all_gather(ranks: int) -> Plan:
    """Posts without a signal of their own, two on each channel, followed by one signal for both."""
    p = PlanBuilder("all_gather", name="port_signal", ranks=ranks, split=2)
    for rank in p.ranks:
        block = rank.block()
        for half in range(2):
            block.copy(rank.output[2 * rank.id + half], rank.input[half])
        block.signal(rank.others)
        block.wait(rank.others)
        for other in rank.others:
            for half in range(2):
                block.post(other.output[2 * rank.id + half], rank.input[half])
            block.signal([other], port=True)
        block.wait(rank.others, port=True)
    return p.build()


def double_buffer(ranks: int) -> Plan:
    """One block fills a ring of two slots from the input, another empties it into the scratch of the next rank."""
    p = PlanBuilder("all_gather", name="double_buffer", ranks=ranks, scratch_chunk_bytes=2 * UNIT)
    for rank in p.ranks:
        empty, full = rank.semaphore(2), rank.semaphore(0)
        fill, drain = rank.block(), rank.block()
        with fill.loop(UNIT, slots=2):
            fill.acquire(empty)
            fill.copy(rank.scratch[0], rank.input[0])
            fill.release(full)
        with drain.loop(UNIT, slots=2):
            drain.acquire(full)
            drain.copy([rank.output[rank.id]] + [other.scratch[1 + rank.id] for other in rank.others], rank.scratch[0])
            drain.release(empty)
            drain.signal(rank.others)
            drain.wait(rank.others)
            for other in rank.others:
                drain.copy(rank.output[other.id], rank.scratch[1 + other.id])
    return p.build()


def barrier_halves(ranks: int) -> Plan:
    """The first block publishes and meets the other ranks; two blocks then reduce a half each; a barrier between."""
    p = PlanBuilder("all_reduce", name="barrier_halves", ranks=ranks, split=2)
    for rank in p.ranks:
        blocks = [rank.block(), rank.block()]
        for half, block in enumerate(blocks):
            block.copy(rank.scratch[half], rank.input[half])
            block.barrier(0, 2)
        blocks[0].signal(rank.others)
        blocks[0].wait(rank.others)
        for half, block in enumerate(blocks):
            block.barrier(1, 2)
            block.reduce(rank.output[half], [r.scratch[half] for r in p.ranks], final=True)
    return p.build()


def switch_all_reduce(ranks: int) -> Plan:
    """Rank r reduces chunk r of the input of all by one load, and stores it to the output of all by one store."""
    p = PlanBuilder("all_reduce", name="switch", ranks=ranks, split=ranks)
    for rank in p.ranks:
        block = rank.block()
        for _ in range(2):
            block.signal(rank.others)
            block.wait(rank.others)
    plan = p.build()
    group = Channel(ChannelKind.SWITCH, tuple(range(ranks)))
    parts = []
    for number, part in enumerate(plan.ranks):
        at = len(part.channels)
        source, target = (Span(b, number, switch=at) for b in (BufferKind.INPUT, BufferKind.OUTPUT))
        reduce = Move((target,), (source,), final=True)
        (block_,) = part.blocks
        parts.append(replace(part, channels=(*part.channels, group), blocks=((*block_[:2], reduce, *block_[2:]),)))
    return replace(plan, ranks=tuple(parts))


def packet_two_phase(ranks: int) -> Plan:
    """Slices go to their owners in packets, and sums come back in packets: no signal anywhere."""
    p = PlanBuilder("all_reduce", name="packets", ranks=ranks, split=ranks)
    for rank in p.ranks:
        block = rank.block()
        for other in rank.others:
            block.copy(other.scratch[rank.id].packets, rank.input[other.id])
        block.sync()
        own = [rank.input[rank.id] if q is rank else rank.scratch[q.id].packets for q in p.ranks]
        sums = [other.scratch[ranks + rank.id].packets for other in rank.others]
        block.reduce([rank.output[rank.id], *sums], own, final=True)
        for other in rank.others:
            block.copy(rank.output[other.id], rank.scratch[ranks + other.id].packets)
    return p.build()


def parts_of_blocks(ranks: int) -> Plan:
    """Two blocks share every move by halves, and each meets the same block of the other ranks."""
    p = PlanBuilder("reduce_scatter", name="parts", ranks=ranks, even=True)
    for rank in p.ranks:
        for number in range(2):
            block = rank.block()
            part = (number, 2)
            block.copy(rank.scratch[0:ranks], rank.input[0:ranks], part=part)
            block.barrier(0, 2)
            block.signal(rank.others)
            block.wait(rank.others)
            block.reduce(rank.output[0], [r.scratch[rank.id] for r in p.ranks], part=part, final=True)
    return p.build()


def relaxed_credits(ranks: int) -> Plan:
    """Round the ring in one slot: its owner says by a relaxed signal that it was read, before it is filled again."""
    p = PlanBuilder("broadcast", name="relaxed_credits", ranks=ranks, root=0, scratch_chunk_bytes=UNIT)
    for rank in p.ranks:
        block = rank.block()
        after = p.ranks[rank.id + 1] if rank.id + 1 < ranks else None
        before = p.ranks[rank.id - 1] if rank.id else None
        with block.loop(UNIT):
            if before is not None:
                block.wait([before])
            onward = [] if after is None else [after.scratch[0]]
            block.copy([rank.output[0], *onward], rank.input[0] if before is None else rank.scratch[0])
            if after is not None:
                block.signal([after])
                block.wait([after], relaxed=True)
            if before is not None:
                block.signal([before], relaxed=True)
    return p.build()


EXTRA = [
    port_all_to_all,
    port_all_gather,
    double_buffer,
    barrier_halves,
    switch_all_reduce,
    packet_two_phase,
    parts_of_blocks,
    relaxed_credits,
]
