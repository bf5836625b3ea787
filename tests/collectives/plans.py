"""Plans written for the comparison of executors: each uses some of the instructions that the algorithms use seldom."""

from __future__ import annotations

from hal.interface.dtypes import ReduceOp
from hal.plan.builder import PlanBuilder
from hal.plan.model import BufferKind, Channel, ChannelKind, Loop, Move, Plan, RankPlan, Signal, Span, Sync, Wait


def packets(size: int) -> Plan:
    """all_reduce: every rank pushes its halves as packets; sources of a reduction mix packets and plain memory."""
    p = PlanBuilder("all_reduce", name="packets", ranks=size, split=2, align=16)
    for rank in p.ranks:
        for half in range(2):
            block = rank.block()
            slot = rank.id * 2 + half
            for other in rank.others:
                block.copy(other.scratch[slot].packets, rank.input[half])
            block.sync()
            sources = [rank.input[half] if r is rank else rank.scratch[r.id * 2 + half].packets for r in p.ranks]
            block.reduce(rank.output[half], sources, final=True)
    return p.build()


def packet_relay(size: int) -> Plan:
    """reduce to the last rank: a chain in which every move takes a packet and makes one."""
    p = PlanBuilder("reduce", name="packet_relay", ranks=size, root=size - 1)
    for rank in p.ranks:
        block = rank.block()
        following = None if rank.id == size - 1 else p.ranks[rank.id + 1]
        sources = [rank.input[0]] if rank.id == 0 else [rank.scratch[0].packets, rank.input[0]]
        if following is None:
            block.reduce(rank.output[0], sources, final=True)
        else:
            block.reduce(following.scratch[0].packets, sources)
    return p.build()


def pipeline(size: int) -> Plan:
    """reduce to the last rank: a chain in short pieces through a ring of slots, with credits for free slots."""
    unit, slots = 192, 3
    p = PlanBuilder("reduce", name="pipeline", ranks=size, root=size - 1, scratch_chunk_bytes=unit * slots)
    for rank in p.ranks:
        block = rank.block()
        before = [p.ranks[rank.id - 1]] if rank.id else []
        after = p.ranks[rank.id + 1 : rank.id + 2]
        for _ in range(slots):
            block.signal(before, channel=1) if before else None
        with block.loop(unit, slots):
            if before:
                block.wait(before, channel=0)
            if after:
                block.wait(after, channel=1)
            sources = [*([rank.scratch[0]] if before else []), rank.input[0]]
            block.reduce(after[0].scratch[0] if after else rank.output[0], sources, final=not after)
            if before:
                block.signal(before, channel=1)
            if after:
                block.signal(after, channel=0)
        for _ in range(slots):
            block.wait(after, channel=1) if after else None
    return p.build()


def blocks(size: int) -> Plan:
    """all_reduce by three blocks a rank: they meet at barriers, and hand on to one another by semaphores."""
    p = PlanBuilder("all_reduce", name="blocks", ranks=size, split=3, align=32)
    for rank in p.ranks:
        ready = [rank.semaphore() for _ in range(3)]
        turn = rank.semaphore(1)
        for number in range(3):
            block = rank.block()
            block.copy(rank.scratch[number], rank.input[number])
            block.barrier(0, 3)
            if number == 0:
                block.signal(rank.others)
            # what one block has waited for another may use after its semaphore
            if number == 2:
                block.wait(rank.others, channel=0)
                for semaphore in ready:
                    block.release(semaphore)
            block.acquire(ready[number])
            block.acquire(turn)
            block.reduce(rank.output[number], [r.scratch[number] for r in p.ranks], final=True)
            block.release(turn)
            block.sync()
            block.barrier(1, 3)
    return p.build()


def ports(size: int) -> Plan:
    """reduce_scatter: blocks posted through port channels, some with a signal of their own, some with one apart."""
    p = PlanBuilder("reduce_scatter", name="ports", ranks=size)
    for rank in p.ranks:
        block = rank.block()
        for other in rank.others:
            target = other.scratch[rank.id]
            if (rank.id + other.id) % 2:
                block.post(target, rank.input[other.id], signal=True, flush=True)
            else:
                block.post(target, rank.input[other.id])
                block.signal([other], port=True)
                block.flush(other)
        for other in rank.others:
            block.wait([other], port=True)
        # backwards: the order is the plan's, not the ranks'
        sources = [rank.input[r.id] if r is rank else rank.scratch[r.id] for r in reversed(p.ranks)]
        block.reduce(rank.output[0], sources, final=True)
    return p.build()


def several_results(size: int) -> Plan:
    """A custom plan whose moves name their operations, store to several places, and divide twice."""
    p = PlanBuilder("custom", name="several_results", ranks=size, input_chunks=2, output_chunks=4)
    for rank in p.ranks:
        block = rank.block()
        for chunk in range(2):
            block.copy([rank.scratch[chunk], rank.scratch[2 + chunk]], rank.input[chunk])
        block.signal(rank.others)
        block.wait(rank.others)
        first = [r.scratch[0] for r in p.ranks]
        second = [r.scratch[3] for r in reversed(p.ranks)]
        block.move([rank.output[0], rank.scratch[4]], [*first, *second])
        block.sync()
        block.move(rank.output[1], first, ReduceOp.MAX)
        block.sync()
        block.move(rank.output[2], [*second, rank.scratch[4]], ReduceOp.MIN)
        block.move(rank.output[3], [*first, rank.input[1]], final=True)
    return p.build()


def switched(size: int, loads: bool = True) -> Plan:
    """all_reduce through a switch, in scratch: each rank reduces its own piece and stores it to all at once.

    With `loads` the switch reduces; else the rank does.
    """

    def scratch(index: int, peer: int | None = None, switch: int | None = None) -> Span:
        return Span(BufferKind.SCRATCH, index, peer=peer, switch=switch)

    ranks = []
    for me in range(size):
        own = Span(BufferKind.OUTPUT, me)
        channels, meet = _meeting(size, me, 1)
        everywhere = scratch(size + me, switch=0)
        by_hand = [Span(BufferKind.INPUT, me) if r == me else scratch(me, peer=r) for r in range(size)]
        reduced = (
            (Move((own,), (scratch(me, switch=0),), final=True), Sync(), Move((everywhere,), (own,)))
            if loads
            else (Move((own, everywhere), tuple(by_hand), final=True),)
        )
        block = (
            *(Move((scratch(c),), (Span(BufferKind.INPUT, c),)) for c in range(size)),
            *meet[0],
            *reduced,
            *meet[0],
            *(Move((Span(BufferKind.OUTPUT, c),), (scratch(size + c),)) for c in range(size)),
        )
        ranks.append(RankPlan(size, size, 2 * size, (block,), channels))
    return Plan("switched", "all_reduce", tuple(ranks), split=size)


def switched_ring(size: int) -> Plan:
    """all_reduce through a switch in the pieces of loops: in block b rank b brings the sums of a part to all."""
    piece, sums = (Span(BufferKind.SCRATCH, index) for index in range(2))
    source, target = (Span(BufferKind.SCRATCH, index, switch=0) for index in range(2))
    ranks = []
    for me in range(size):
        channels, meet = _meeting(size, me, size)
        blocks = []
        for part in range(size):
            cut = {"part": part, "parts": size}
            switched = (Move((target,), (source,), **cut, final=True),) if part == me else ()
            body = (
                Move((piece,), (Span(BufferKind.INPUT, 0),), **cut),
                *meet[part],
                *switched,
                *meet[part],
                Move((Span(BufferKind.OUTPUT, 0),), (sums,), **cut),
                *meet[part],
            )
            blocks.append((Loop(128, body, 2),))
        ranks.append(RankPlan(1, 1, 2, tuple(blocks), channels))
    return Plan("switched_ring", "all_reduce", tuple(ranks), even=True, align=16)


def _meeting(size: int, me: int, blocks: int) -> tuple[tuple[Channel, ...], list[tuple[Signal, Wait]]]:
    """A switch channel of all ranks, which is channel 0, and others by which all meet in each block."""
    others = tuple(Channel(ChannelKind.MEMORY, (other,)) for other in range(size) if other != me)
    ends = [tuple(range(1 + b * len(others), 1 + (b + 1) * len(others))) for b in range(blocks)]
    switch = Channel(ChannelKind.SWITCH, tuple(range(size)))
    return (switch, *others * blocks), [(Signal(each), Wait(each)) for each in ends]
