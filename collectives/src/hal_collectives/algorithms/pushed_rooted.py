"""Puts into others' scratch, as in `pushed`, for collectives with a root and for messages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from hal.plan.builder import BlockBuilder, PlanBuilder, RankBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.meeting import meet
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.send_recv import RANKS, two
from hal_collectives.algorithms.staging import STREAM_SLOTS, consume, produce, unit_for

STAGED = "as pushed, piece by piece through bounded scratch, for any length"


@algorithm("broadcast", name="pushed", description="the root puts the message into the scratch of all others")
def broadcast(size: int, root: int) -> Plan:
    """One signal to each."""
    return _broadcast(size, root, None)


@algorithm("broadcast", name="pushed_staged", description=STAGED)
def broadcast_staged(size: int, root: int) -> Plan:
    """The root may be some pieces ahead of the slowest."""
    return _broadcast(size, root, unit_for(chunks=1, slots=STREAM_SLOTS))


def _broadcast(size: int, root: int, unit: int | None) -> Plan:
    p = _plan("broadcast", size, root, unit)
    source = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if rank is not source:
            with _take(block, [source], unit):
                block.copy(rank.output[0], rank.scratch[0])
        elif rank.others:
            with _give(block, rank.others, unit):
                block.copy([rank.output[0], *(peer.scratch[0] for peer in rank.others)], rank.input[0])
        else:
            block.copy(rank.output[0], rank.input[0])
    return p.build()


@algorithm(
    "reduce",
    name="pushed_staged",
    description="every rank is given its slice by all, reduces it, and gives it to the root, through bounded scratch",
)
def reduce(size: int, root: int) -> Plan:
    """One meeting a piece, and two slots. The root's scratch holds its slice as every rank has it, then the results."""
    unit = unit_for(chunks=2 * size, slots=2)
    p = PlanBuilder("reduce", name="pushed_staged", ranks=size, root=root, split=size, scratch_chunk_bytes=2 * unit)
    target = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if not rank.others:
            block.reduce(rank.output[0], [rank.input[0]], final=True)
            continue
        own = rank.id
        with block.loop(unit, slots=2):
            for owner in rank.others:
                block.copy(owner.scratch[own], rank.input[owner.id])
            meet(block)
            contributions = [rank.input[own] if q is rank else rank.scratch[q.id] for q in p.ranks]
            block.reduce(rank.output[own] if rank is target else target.scratch[size + own], contributions, final=True)
            # a channel of its own: signals to all others on the first one then need one store
            if rank is not target:
                block.signal([target], channel=1)
                continue
            block.wait(rank.others, channel=1)
            for owner in rank.others:
                block.copy(rank.output[owner.id], rank.scratch[size + owner.id])
    return p.build()


@algorithm("gather", name="pushed", description="every rank puts its block into the root's scratch", variable=True)
def gather(size: int, root: int) -> Plan:
    """One signal from each."""
    return _gather(size, root, None)


@algorithm("gather", name="pushed_staged", description=STAGED, variable=True)
def gather_staged(size: int, root: int) -> Plan:
    """Every rank may be some pieces ahead of the root."""
    return _gather(size, root, unit_for(chunks=size, slots=STREAM_SLOTS))


def _gather(size: int, root: int, unit: int | None) -> Plan:
    p = _plan("gather", size, root, unit)
    target = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if rank is not target:
            with _give(block, [target], unit):
                block.copy(target.scratch[rank.id], rank.input[0])
            continue
        block.copy(rank.output[root], rank.input[0])
        if rank.others:
            with _take(block, rank.others, unit):
                for peer in rank.others:
                    block.copy(rank.output[peer.id], rank.scratch[peer.id])
    return p.build()


@algorithm("scatter", name="pushed", description="the root puts each block into its receiver's scratch", variable=True)
def scatter(size: int, root: int) -> Plan:
    """One signal to each."""
    return _scatter(size, root, None)


@algorithm("scatter", name="pushed_staged", description=STAGED, variable=True)
def scatter_staged(size: int, root: int) -> Plan:
    """The root may be some pieces ahead of the slowest."""
    return _scatter(size, root, unit_for(chunks=1, slots=STREAM_SLOTS))


def _scatter(size: int, root: int, unit: int | None) -> Plan:
    p = _plan("scatter", size, root, unit)
    source = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if rank is not source:
            with _take(block, [source], unit):
                block.copy(rank.output[0], rank.scratch[0])
            continue
        block.copy(rank.output[0], rank.input[root])
        if rank.others:
            with _give(block, rank.others, unit):
                for peer in rank.others:
                    block.copy(peer.scratch[0], rank.input[peer.id])
    return p.build()


@algorithm(
    "send_recv",
    name="pushed",
    description="the sender puts the message into the receiver's scratch",
    ranks=RANKS,
    claims=two,
)
def send_recv(size: int) -> Plan:
    """One signal."""
    return _send_recv(size, None)


@algorithm("send_recv", name="pushed_staged", description=STAGED, ranks=RANKS, claims=two)
def send_recv_staged(size: int) -> Plan:
    """The sender may be some pieces ahead."""
    return _send_recv(size, unit_for(chunks=1, slots=STREAM_SLOTS))


def _send_recv(size: int, unit: int | None) -> Plan:
    p = _plan("send_recv", size, None, unit)
    sender, receiver = p.ranks
    block = sender.block()
    with _give(block, [receiver], unit):
        block.copy(receiver.scratch[0], sender.input[0])
    block = receiver.block()
    with _take(block, [sender], unit):
        block.copy(receiver.output[0], receiver.scratch[0])
    return p.build()


def _plan(collective: str, size: int, root: int | None, unit: int | None) -> PlanBuilder:
    name, room = ("pushed", None) if unit is None else ("pushed_staged", STREAM_SLOTS * unit)
    return PlanBuilder(collective, name=name, ranks=size, root=root, scratch_chunk_bytes=room)


@contextlib.contextmanager
def _give(block: BlockBuilder, takers: Sequence[RankBuilder], unit: int | None) -> Iterator[None]:
    """The instructions inside put what `takers` wait for: piece by piece, or all at once."""
    if unit is not None:
        with produce(block, takers, unit):
            yield
        return
    yield
    block.signal(takers)


@contextlib.contextmanager
def _take(block: BlockBuilder, givers: Sequence[RankBuilder], unit: int | None) -> Iterator[None]:
    """The instructions inside read what `givers` have put."""
    if unit is not None:
        with consume(block, givers, unit):
            yield
        return
    block.wait(givers)
    yield
