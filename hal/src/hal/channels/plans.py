"""The plans behind the primitives. Each is built once; its two ranks are the sender (0) and the receiver (1)."""

from __future__ import annotations

import functools
from dataclasses import replace

from hal.interface.dtypes import ReduceOp
from hal.plan.builder import BlockBuilder, PlanBuilder, RankBuilder
from hal.plan.collective import Collective
from hal.plan.model import BufferKind, Channel, ChannelKind, Instruction, Move, Plan, RankPlan, Signal, Span, Wait


def _pair(name: str) -> tuple[PlanBuilder, RankBuilder, RankBuilder, BlockBuilder, BlockBuilder]:
    p = PlanBuilder("send_recv", name=name, ranks=2)
    sender, receiver = p.ranks
    return p, sender, receiver, sender.block(), receiver.block()


def _built(p: PlanBuilder) -> Plan:
    """The plan, of a collective of its own: nothing is said of the result, which a fallback does not make."""
    return replace(p.build(), collective=Collective.CUSTOM.label)


@functools.cache
def signal(relaxed: bool) -> Plan:
    """The sender signals, the receiver waits."""
    p = PlanBuilder("custom", name="signal_relaxed" if relaxed else "signal", ranks=2, input_chunks=0, output_chunks=0)
    sender, receiver = p.ranks
    sender.block().signal([receiver], relaxed=relaxed)
    receiver.block().wait([sender], relaxed=relaxed)
    return p.build()


@functools.cache
def put() -> Plan:
    """The sender stores to the receiver's output, once that is there, and signals."""
    p, sender, receiver, there, here = _pair("put")
    here.signal([sender])
    there.wait([receiver])
    there.copy(receiver.output[0], sender.input[0])
    there.signal([receiver])
    here.wait([sender])
    return _built(p)


@functools.cache
def get() -> Plan:
    """The receiver loads from the sender's input, once that is there, and signals that it has."""
    p, sender, receiver, there, here = _pair("get")
    there.signal([receiver])
    here.wait([sender])
    here.copy(receiver.output[0], sender.input[0])
    here.signal([sender])
    there.wait([receiver])
    return _built(p)


@functools.cache
def post(flush: bool) -> Plan:
    """The sender posts to the receiver's output through a port channel, with a signal after the data."""
    p, sender, receiver, there, here = _pair("post_and_flush" if flush else "post")
    here.signal([sender], port=True)
    there.wait([receiver], port=True)
    there.post(receiver.output[0], sender.input[0], signal=True, flush=flush)
    here.wait([sender], port=True)
    return _built(p)


@functools.cache
def packets() -> Plan:
    """The sender stores packets to the receiver's scratch, which takes them from there: no signal is needed."""
    p, sender, receiver, there, here = _pair("packets")
    there.copy(receiver.scratch[0].packets, sender.input[0])
    here.copy(receiver.output[0], receiver.scratch[0].packets)
    return _built(p)


@functools.cache
def nothing() -> Plan:
    """What runs where the memory of an end is not mapped: nothing, since that was refused before."""
    p, *_ = _pair("nothing")
    return _built(p)


@functools.cache
def multicast(size: int, root: int) -> Plan:
    """The root stores its input to the output of all ranks with one instruction."""
    return _switched("multicast", size, root, Move((_all(BufferKind.OUTPUT),), (Span(BufferKind.INPUT, 0),)))


@functools.cache
def load_reduce(size: int, root: int, op: ReduceOp) -> Plan:
    """The root loads the reduction of all ranks' inputs with one instruction."""
    move = Move((Span(BufferKind.OUTPUT, 0),), (_all(BufferKind.INPUT),), op, final=True)
    return _switched("load_reduce", size, root, move)


@functools.cache
def nothing_switched(size: int) -> Plan:
    """The `nothing` of a group."""
    return Plan("nothing", "custom", tuple(RankPlan(1, 1, 0, ((),)) for _ in range(size)), in_place=False)


def _all(buffer: BufferKind) -> Span:
    return Span(buffer, 0, switch=0)


def _switched(name: str, size: int, root: int, move: Move) -> Plan:
    """`move` at the root, when all ranks are there, and nobody leaves before it is done. Channel 0 is the switch."""
    group = Channel(ChannelKind.SWITCH, tuple(range(size)))
    ranks = []
    for rank in range(size):
        block: tuple[Instruction, ...]
        if rank == root:
            peers = [r for r in range(size) if r != root]
            ends = tuple(range(1, size))
            block = (Wait(ends), move, Signal(ends))
        else:
            peers, block = [root], (Signal((1,)), Wait((1,)))
        channels = (group, *(Channel(ChannelKind.MEMORY, (peer,)) for peer in peers))
        ranks.append(RankPlan(1, 1, 0, (block,), channels))
    return Plan(name, "custom", tuple(ranks), in_place=False)
