"""reduce: at the root alone for short messages, by all ranks together for long ones."""

from __future__ import annotations

from hal.plan.builder import Chunks, PlanBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.meeting import meet
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.staging import PUBLISH_UNIT, in_pieces, unit_for


@algorithm(
    "reduce",
    name="publish",
    description="every other rank publishes its input in its scratch and goes on; the root reduces all",
)
def publish(size: int, root: int) -> Plan:
    """One message delay; the root does all the work."""
    return _published("publish", size, root)


@algorithm(
    "reduce",
    name="publish_piecewise",
    description="every other rank publishes its input piece by piece in its scratch and goes on; the root follows",
)
def publish_piecewise(size: int, root: int) -> Plan:
    """One message delay, and all ranks are at it at the same time; the root reduces everything."""
    return _published("publish_piecewise", size, root, PUBLISH_UNIT)


def _published(name: str, size: int, root: int, unit: int | None = None) -> Plan:
    p = PlanBuilder("reduce", name=name, ranks=size, root=root)
    target = p.ranks[root]
    contributions = [rank.input[0] if rank is target else rank.scratch[0] for rank in p.ranks]
    for rank in p.ranks:
        block = rank.block()
        with in_pieces(block, unit):
            if rank is not target:
                block.copy(rank.scratch[0], rank.input[0])
                block.signal([target])
                continue
            if rank.others:
                block.wait(rank.others)
            block.reduce(rank.output[0], contributions, final=True)
    return p.build()


@algorithm(
    "reduce",
    name="direct_mapped",
    description="rank r reads slice r of all inputs and writes the result to the root's output, in one pass",
    mapped=True,
)
def direct_mapped(size: int, root: int) -> Plan:
    """No copy at all, and the work is shared."""
    p = PlanBuilder("reduce", name="direct_mapped", ranks=size, root=root, split=size)
    target = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        meet(block)
        block.reduce(target.output[rank.id], [q.input[rank.id] for q in p.ranks], final=True)
        meet(block)
    return p.build()


@algorithm(
    "reduce",
    name="staged",
    description="rank r reduces slice r, the root gathers the slices, piece by piece through bounded scratch",
)
def staged(size: int, root: int) -> Plan:
    """Two slots: by its signals for piece i+1 the root says that it has gathered piece i."""
    unit = unit_for(chunks=size, slots=2)
    p = PlanBuilder("reduce", name="staged", ranks=size, root=root, split=size, scratch_chunk_bytes=2 * unit)
    target = p.ranks[root]
    for rank in p.ranks:
        block = rank.block()
        if not rank.others:
            block.reduce(rank.output[0], [rank.input[0]], final=True)
            continue
        own = rank.id
        with block.loop(unit, slots=2):
            for owner in rank.others:
                block.copy(rank.scratch[owner.id], rank.input[owner.id])
            meet(block)
            contributions = [rank.input[own] if q is rank else q.scratch[own] for q in p.ranks]
            result: Chunks = rank.output[own] if rank is target else rank.scratch[own]
            block.reduce(result, contributions, final=True)
            # a channel of its own: signals to all others on the first one then need one store
            if rank is not target:
                block.signal([target], channel=1)
                continue
            block.wait(rank.others, channel=1)
            for owner in rank.others:
                block.copy(rank.output[owner.id], owner.scratch[owner.id])
    return p.build()
