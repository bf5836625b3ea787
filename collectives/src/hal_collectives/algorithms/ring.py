"""Rings: each rank receives from the one before it and sends to the one after it, at every step.

The least traffic per link, for many steps. All go piece by piece through bounded scratch.

Flow control comes with the ring. A message received at rank r means that the rank k places back has sent its message
k-1 places earlier in order; the next rank is size-1 places back. So when r sends its message number g, counted from
the start, the next rank has emptied the slot of message g-size. Slots are therefore used again after `size` messages
or more.

A ring looks the same from every rank: the block of rank 0 is written here, and the others do as it does.
"""

from __future__ import annotations

from hal.plan.builder import PlanBuilder, RankBuilder
from hal.plan.model import Plan
from hal.plan.rotation import rotate
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.staging import unit_for


def neighbours(rank: RankBuilder) -> tuple[RankBuilder, RankBuilder]:
    """The rank before and the rank after."""
    ranks = rank.plan.ranks
    return ranks[rank.id - 1], ranks[(rank.id + 1) % len(ranks)]


@algorithm(
    "all_reduce",
    name="ring",
    description="partial sums go round the ring, then the results: the least traffic per link, 2(n-1) steps",
    in_order=False,
)
def all_reduce(size: int) -> Plan:
    """The sum of slice c starts at rank c and ends at the rank before it."""
    steps = size - 1
    unit = unit_for(chunks=2 * steps, slots=1)
    p = PlanBuilder("all_reduce", name="ring", ranks=size, split=size, scratch_chunk_bytes=unit)
    rank = p.ranks[0]
    block = rank.block()
    if size == 1:
        block.reduce(rank.output[0], [rank.input[0]], final=True)
        return p.build()
    before, after = neighbours(rank)
    with block.loop(unit):
        block.copy(after.scratch[0], rank.input[rank.id])
        for step in range(1, steps + 1):
            block.signal([after])
            block.wait([before])
            passing = (rank.id - step) % size
            sum_so_far = [rank.scratch[step - 1], rank.input[passing]]
            if step < steps:
                block.reduce(after.scratch[step], sum_so_far)
            else:
                block.reduce([rank.output[passing], after.scratch[step]], sum_so_far, final=True)
        for step in range(steps + 1, 2 * steps + 1):
            block.signal([after])
            block.wait([before])
            passing = (rank.id - step) % size
            onward = [after.scratch[step]] if step < 2 * steps else []
            block.copy([rank.output[passing], *onward], rank.scratch[step - 1])
    rotate(p)
    return p.build()


@algorithm(
    "all_gather",
    name="ring",
    description="blocks go round the ring: the least traffic per link, n-1 steps",
    variable=True,
)
def all_gather(size: int) -> Plan:
    """Each rank keeps a copy of every block that passes."""
    steps = size - 1
    unit = unit_for(chunks=steps, slots=2)
    p = PlanBuilder("all_gather", name="ring", ranks=size, scratch_chunk_bytes=2 * unit)
    rank = p.ranks[0]
    block = rank.block()
    if size == 1:
        block.copy(rank.output[0], rank.input[0])
        return p.build()
    before, after = neighbours(rank)
    with block.loop(unit, slots=2):
        block.copy([rank.output[rank.id], after.scratch[0]], rank.input[0])
        for step in range(1, steps + 1):
            block.signal([after])
            block.wait([before])
            passing = (rank.id - step) % size
            onward = [after.scratch[step]] if step < steps else []
            block.copy([rank.output[passing], *onward], rank.scratch[step - 1])
    rotate(p)
    return p.build()


@algorithm(
    "reduce_scatter",
    name="ring",
    description="partial sums go round the ring to their owners: the least traffic per link, n-1 steps",
    variable=True,
    in_order=False,
)
def reduce_scatter(size: int) -> Plan:
    """The sum of block c starts at the rank after c and ends at c."""
    steps = size - 1
    unit = unit_for(chunks=steps, slots=2)
    p = PlanBuilder("reduce_scatter", name="ring", ranks=size, scratch_chunk_bytes=2 * unit)
    rank = p.ranks[0]
    block = rank.block()
    if size == 1:
        block.reduce(rank.output[0], [rank.input[0]], final=True)
        return p.build()
    before, after = neighbours(rank)
    with block.loop(unit, slots=2):
        block.copy(after.scratch[0], rank.input[before.id])
        for step in range(1, steps + 1):
            block.signal([after])
            block.wait([before])
            passing = (rank.id - 1 - step) % size
            sum_so_far = [rank.scratch[step - 1], rank.input[passing]]
            if step < steps:
                block.reduce(after.scratch[step], sum_so_far)
            else:
                block.reduce(rank.output[0], sum_so_far, final=True)
    rotate(p)
    return p.build()
