"""Plans with switch channels, which the builder has no words for."""

from __future__ import annotations

from collections.abc import Sequence

from hal.interface.dtypes import ReduceOp
from hal.plan.model import BufferKind, Channel, ChannelKind, Instruction, Move, Plan, RankPlan, Signal, Span, Wait

Group = tuple[int, ...]

CHUNKS = 2


def _plan(name: str, ranks: int, groups: Sequence[Group], move: Move, *, at: str) -> Plan:
    """In each group the first rank (`at` root) or every one does `move`, between two meetings of all in the group."""
    made = []
    for rank in range(ranks):
        group = next((one for one in groups if rank in one), ())
        others = [other for other in group if other != rank]
        channels: tuple[Channel, ...] = ()
        block: tuple[Instruction, ...] = ()
        if group:
            channels = (Channel(ChannelKind.SWITCH, group), *(Channel(ChannelKind.MEMORY, (p,)) for p in others))
            ends = tuple(range(1, 1 + len(others)))
            mine = (move,) if at == "all" or rank == group[0] else ()
            block = (Signal(ends), Wait(ends), *mine, Signal(ends), Wait(ends))
        made.append(RankPlan(CHUNKS, CHUNKS, 0, (block,), channels))
    return Plan(name, "custom", tuple(made), in_place=False)


def stores(ranks: int, groups: Sequence[Group]) -> Plan:
    """The first rank of each group stores the second chunk of its input to the first chunk of all outputs."""
    move = Move((Span(BufferKind.OUTPUT, 0, switch=0),), (Span(BufferKind.INPUT, 1),))
    return _plan("switch_stores", ranks, groups, move, at="root")


def loads(ranks: int, groups: Sequence[Group], op: ReduceOp) -> Plan:
    """Every rank of each group loads the reduction of the first chunks of all inputs into its own second output."""
    move = Move((Span(BufferKind.OUTPUT, 1),), (Span(BufferKind.INPUT, 0, switch=0),), op)
    return _plan("switch_loads", ranks, groups, move, at="all")


def all_reduce(ranks: int) -> Plan:
    """Each rank loads the reduction of one piece and stores it to all, as switches are used for all_reduce."""
    group = tuple(range(ranks))
    made = []
    for rank in range(ranks):
        others = [other for other in group if other != rank]
        channels = (Channel(ChannelKind.SWITCH, group), *(Channel(ChannelKind.MEMORY, (p,)) for p in others))
        ends = tuple(range(1, ranks))
        source, target = Span(BufferKind.INPUT, rank, switch=0), Span(BufferKind.OUTPUT, rank, switch=0)
        move = Move((target,), (source,), final=True)
        block = (Signal(ends), Wait(ends), move, Signal(ends), Wait(ends))
        made.append(RankPlan(ranks, ranks, 0, (block,), channels))
    return Plan("switch_all_reduce", "all_reduce", tuple(made), split=ranks, in_place=False)
