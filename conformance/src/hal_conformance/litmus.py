"""Small plans, each of which goes wrong in a way that shows where an executor breaks one rule of ordering.

All of them pass data through the same memory again and again, so that what is read too early is what was there before:
another round's data, or the garbage of a new launch. Ranks form a ring; each sends to the next and receives from the
one before, so that both directions are in use at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from hal.plan.builder import BlockBuilder, PlanBuilder, RankBuilder
from hal.plan.model import Plan

Noise = random.Random | None
"""Chance for moves that only take time, so that ranks and blocks fall out of step; None for none."""


def _start(name: str, ranks: int, rounds: int, outputs: int | None = None) -> PlanBuilder:
    return PlanBuilder(
        "custom",
        name=name,
        ranks=ranks,
        input_chunks=rounds,
        output_chunks=rounds if outputs is None else outputs,
        in_place=False,
    )


def _neighbours(p: PlanBuilder, rank: RankBuilder) -> tuple[RankBuilder, RankBuilder]:
    return p.ranks[rank.id - 1], p.ranks[(rank.id + 1) % len(p.ranks)]


def _noise(block: BlockBuilder, chance: Noise, place: int) -> None:
    """A few moves to scratch of this block's own."""
    if chance is not None:
        for _ in range(chance.choice([0, 0, 0, 1, 4, 16])):
            block.copy(block.rank.scratch[place], block.rank.input[0])
            block.sync()


def message_passing(ranks: int, rounds: int, *, get: bool, noise: Noise = None) -> Plan:
    """Write, signal; wait, read: one place, written again when its reader has signalled that it has read.

    With `get` the sender writes to its own memory, and the receiver reads from there.
    """
    p = _start("message_passing", ranks, rounds)
    for rank in p.ranks:
        before, after = _neighbours(p, rank)
        send, receive = rank.block(), rank.block()
        for turn in range(rounds):
            if turn:
                send.wait([after], channel=1)
            _noise(send, noise, 1)
            send.copy((rank if get else after).scratch[0], rank.input[turn])
            send.signal([after], channel=0)
            _noise(receive, noise, 2)
            receive.wait([before], channel=0)
            receive.copy(rank.output[turn], (before if get else rank).scratch[0])
            if turn < rounds - 1:
                receive.signal([before], channel=1)
    return p.build()


def store_buffering(ranks: int, rounds: int, *, noise: Noise = None) -> Plan:
    """All ranks write, signal all others, wait for them, and read what each of them has written."""
    p = _start("store_buffering", ranks, rounds, rounds * max(1, ranks - 1))
    for rank in p.ranks:
        block = rank.block()
        for turn in range(rounds):
            _noise(block, noise, rounds)
            block.copy(rank.scratch[turn], rank.input[turn])
            if rank.others:
                block.signal(rank.others)
                block.wait(rank.others)
            for number, other in enumerate(rank.others or [rank]):
                if other is rank:
                    block.sync()
                block.copy(rank.output[turn * max(1, ranks - 1) + number], other.scratch[turn])
    return p.build()


def handed_on(ranks: int, rounds: int, *, noise: Noise = None) -> Plan:
    """Rank 0 writes to the last rank and signals the next one, which signals the next, up to the last, which reads."""
    p = _start("handed_on", ranks, rounds)
    first, last = p.ranks[0], p.ranks[-1]
    blocks = [rank.block() for rank in p.ranks]
    for turn in range(rounds):
        for rank, block in zip(p.ranks, blocks, strict=True):
            before, after = _neighbours(p, rank)
            _noise(block, noise, 1)
            if rank is first:
                block.copy(last.scratch[0], rank.input[turn])
                block.signal([after], channel=0)
                block.wait([last], channel=1)
            else:
                block.wait([before], channel=0)
                if rank is last:
                    block.copy(rank.output[turn], rank.scratch[0])
                    block.signal([first], channel=1)
                else:
                    block.signal([after], channel=0)
    return p.build()


def across_blocks(ranks: int, rounds: int, *, barrier: bool, noise: Noise = None) -> Plan:
    """One block waits and hands on to another one, by a semaphore or a barrier, which reads what a peer has written."""
    p = _start("across_blocks", ranks, rounds)
    for rank in p.ranks:
        before, after = _neighbours(p, rank)
        send, wait, read = rank.block(), rank.block(), rank.block()
        arrived = rank.semaphore()
        for turn in range(rounds):
            if turn:
                send.wait([after], channel=1)
            send.copy(after.scratch[0], rank.input[turn])
            send.signal([after], channel=0)
            wait.wait([before], channel=0)
            if barrier:
                wait.barrier(0, 2)
                read.barrier(0, 2)
            else:
                wait.release(arrived)
                read.acquire(arrived)
            _noise(read, noise, 1)
            read.copy(rank.output[turn], rank.scratch[0])
            if turn < rounds - 1:
                read.signal([before], channel=1)
    return p.build()


def bounded_buffer(rounds: int, slots: int, *, initial: bool = True) -> Plan:
    """One rank: a block fills slots of scratch and another one empties them; two semaphores keep them in step."""
    p = _start("bounded_buffer", 1, rounds)
    (rank,) = p.ranks
    free, full = rank.semaphore(slots if initial else 0), rank.semaphore()
    fill, empty = rank.block(), rank.block()
    if not initial:
        for _ in range(slots):
            empty.release(free)
    for turn in range(rounds):
        fill.acquire(free)
        fill.copy(rank.scratch[turn % slots], rank.input[turn])
        fill.release(full)
        empty.acquire(full)
        empty.copy(rank.output[turn], rank.scratch[turn % slots])
        empty.release(free)
    return p.build()


def barriers(rounds: int, blocks: int) -> Plan:
    """One rank: each block writes a place, all meet, and each reads the place of the next block."""
    p = _start("barriers", 1, rounds * blocks)
    (rank,) = p.ranks
    for number in range(blocks):
        block = rank.block()
        for turn in range(rounds):
            block.copy(rank.scratch[number], rank.input[turn * blocks + number])
            block.barrier(0, blocks)
            following = (number + 1) % blocks
            block.copy(rank.output[turn * blocks + number], rank.scratch[following])
            block.barrier(1, blocks)
    return p.build()


def two_barriers(rounds: int) -> Plan:
    """One rank: two pairs of blocks meet at barriers of their own, one of them far more often than the other."""
    p = _start("two_barriers", 1, rounds * 4)
    (rank,) = p.ranks
    for number in range(4):
        block = rank.block()
        team = number // 2
        for turn in range(rounds):
            block.copy(rank.scratch[number], rank.input[turn * 4 + number])
            for _ in range(1 + 7 * team):
                block.barrier(team, 2)
            block.copy(rank.output[turn * 4 + number], rank.scratch[number ^ 1])
            block.barrier(team, 2)
    return p.build()


def chain_of_blocks(blocks: int) -> Plan:
    """One rank: each block waits for the next one, the last block goes first."""
    p = _start("chain_of_blocks", 1, 1)
    (rank,) = p.ranks
    turns = [rank.semaphore() for _ in range(blocks)]
    for number in range(blocks):
        block = rank.block()
        if number < blocks - 1:
            block.acquire(turns[number])
            source = rank.scratch[number + 1]
        else:
            source = rank.input[0]
        if number:
            block.move(rank.scratch[number], [source, rank.input[0]])
            block.release(turns[number - 1])
        else:
            block.move(rank.output[0], [source, rank.input[0]])
    return p.build()


def many_channels(channels: int, rounds: int) -> Plan:
    """Data in the order of the channels, signals on each, waits in the opposite order."""
    p = _start("many_channels", 2, channels * rounds)
    for rank in p.ranks:
        (other,) = rank.others
        send, receive = rank.block(), rank.block()
        for turn in range(rounds):
            for number in range(channels):
                if turn:
                    send.wait([other], channel=channels + number)
                send.copy(other.scratch[number], rank.input[turn * channels + number])
                send.signal([other], channel=number)
            for number in reversed(range(channels)):
                receive.wait([other], channel=number)
                receive.copy(rank.output[turn * channels + number], rank.scratch[number])
            if turn < rounds - 1:
                for number in range(channels):
                    receive.signal([other], channel=channels + number)
    return p.build()


def far_ahead(signals: int) -> Plan:
    """Many signals on one channel before the first is waited for, and data at the end of them."""
    p = _start("far_ahead", 2, 1)
    for rank in p.ranks:
        (other,) = rank.others
        block = rank.block()
        for _ in range(signals - 1):
            block.signal([other], channel=0)
        block.signal([other], channel=1)
        block.copy(other.scratch[0], rank.input[0])
        block.signal([other], channel=0)
        block.wait([other], channel=1)
        for _ in range(signals):
            block.wait([other], channel=0)
        block.copy(rank.output[0], rank.scratch[0])
    return p.build()


def relaxed_signals(rounds: int, relaxed: int) -> Plan:
    """Relaxed signals before each one that carries data: they count, and must be waited for."""
    p = _start("relaxed_signals", 2, rounds)
    for rank in p.ranks:
        (other,) = rank.others
        block = rank.block()
        for turn in range(rounds):
            for _ in range(relaxed):
                block.signal([other], relaxed=True)
            block.copy(other.scratch[turn], rank.input[turn])
            block.signal([other])
            for _ in range(relaxed):
                block.wait([other], relaxed=True)
            block.wait([other])
            block.copy(rank.output[turn], rank.scratch[turn])
    return p.build()


def posted(ranks: int, rounds: int, *, flush: bool, separate: bool, noise: Noise = None) -> Plan:
    """Posts to one place, each with a signal of its own or `separate` after it; `flush` before the next."""
    p = _start("posted", ranks, rounds)
    for rank in p.ranks:
        before, after = _neighbours(p, rank)
        send, receive = rank.block(), rank.block()
        for turn in range(rounds):
            if turn:
                send.wait([after], channel=1)
            _noise(send, noise, 1)
            send.post(after.scratch[0], rank.input[turn], signal=not separate, flush=flush and not separate, channel=0)
            if separate:
                send.signal([after], port=True, channel=0)
                if flush:
                    send.flush(after, channel=0)
            receive.wait([before], port=True, channel=0)
            receive.copy(rank.output[turn], rank.scratch[0])
            if turn < rounds - 1:
                receive.signal([before], channel=1)
    return p.build()


def in_order(ranks: int, rounds: int) -> Plan:
    """Many posts to one place, one after the other, and one signal: the last of them is what stays."""
    p = _start("in_order", ranks, rounds, 1)
    for rank in p.ranks:
        before, after = _neighbours(p, rank)
        block = rank.block()
        for turn in range(rounds):
            block.post(after.scratch[0], rank.input[turn], signal=turn == rounds - 1)
        block.wait([before], port=True)
        block.copy(rank.output[0], rank.scratch[0])
    return p.build()


def flushed(ranks: int, rounds: int) -> Plan:
    """One place of scratch is the source of every post: it is written again as soon as the flush is done."""
    p = _start("flushed", ranks, rounds)
    for rank in p.ranks:
        before, after = _neighbours(p, rank)
        block = rank.block()
        block.signal([before], channel=1)
        block.wait([after], channel=1)
        for turn in range(rounds):
            block.copy(rank.scratch[0], rank.input[turn])
            block.post(after.output[turn], rank.scratch[0], channel=0)
            block.flush(after, channel=0)
        block.signal([after], port=True, channel=0)
        block.wait([before], port=True, channel=0)
    return p.build()


def both_kinds(rounds: int) -> Plan:
    """Memory and port channels between two ranks, of the same tags, carry different data at different times."""
    p = _start("both_kinds", 2, 2 * rounds)
    for rank in p.ranks:
        (other,) = rank.others
        by_port, by_memory = rank.block(), rank.block()
        for turn in range(rounds):
            by_port.post(other.scratch[2 * turn], rank.input[2 * turn], signal=True, channel=0)
            by_port.wait([other], port=True, channel=0)
            by_port.copy(rank.output[2 * turn], rank.scratch[2 * turn])
            by_memory.copy(other.scratch[2 * turn + 1], rank.input[2 * turn + 1])
            by_memory.signal([other], channel=0)
            by_memory.wait([other], channel=0)
            by_memory.copy(rank.output[2 * turn + 1], rank.scratch[2 * turn + 1])
    return p.build()


def packet_ring(ranks: int, chunks: int, *, noise: Noise = None) -> Plan:
    """Packets go once round the ring: every rank takes those of the one before, keeps them and passes them on."""
    p = _start("packet_ring", ranks, chunks)
    for rank in p.ranks:
        _, after = _neighbours(p, rank)
        for number in range(chunks):
            block = rank.block()
            _noise(block, noise, 2 * chunks + number)  # beyond the packets, which are twice as long
            if after is rank:
                block.copy(rank.scratch[number].packets, rank.input[number])
                block.sync()
            else:
                block.copy(after.scratch[number].packets, rank.input[number])
            block.copy(rank.output[number], rank.scratch[number].packets)
    return p.build()


EVERY: dict[str, Callable[[], Plan]] = {
    "message_passing": lambda: message_passing(3, 4, get=False, noise=random.Random(0)),
    "message_passing_get": lambda: message_passing(2, 4, get=True),
    "store_buffering": lambda: store_buffering(3, 3, noise=random.Random(0)),
    "handed_on": lambda: handed_on(4, 3),
    "across_blocks": lambda: across_blocks(3, 3, barrier=False, noise=random.Random(0)),
    "across_blocks_barrier": lambda: across_blocks(2, 3, barrier=True),
    "bounded_buffer": lambda: bounded_buffer(7, 3),
    "bounded_buffer_released": lambda: bounded_buffer(7, 3, initial=False),
    "barriers": lambda: barriers(3, 4),
    "two_barriers": lambda: two_barriers(3),
    "chain_of_blocks": lambda: chain_of_blocks(8),
    "many_channels": lambda: many_channels(6, 2),
    "far_ahead": lambda: far_ahead(20),
    "relaxed_signals": lambda: relaxed_signals(3, 4),
    "posted": lambda: posted(3, 3, flush=True, separate=False, noise=random.Random(0)),
    "posted_apart": lambda: posted(2, 3, flush=False, separate=True),
    "in_order": lambda: in_order(2, 5),
    "flushed": lambda: flushed(2, 4),
    "both_kinds": lambda: both_kinds(3),
    "packet_ring": lambda: packet_ring(3, 2, noise=random.Random(0)),
    "packet_alone": lambda: packet_ring(1, 2),
}
"""One of each, small; the suite's own tests prove them."""
