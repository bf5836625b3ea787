"""What each collective must give, and the memory it is called with, in and out of place."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal.plan.collective import Collective
from hal.plan.layout import Extent, Layout
from hal.plan.model import Instruction, Loop, Plan

from .interpreter import ITEM, Buffer, Machine, Memory

Array = NDArray[Any]
Combine = Callable[[Array, Array], Array]
Counts = Sequence[Sequence[int]]
"""For each rank, the elements of each block that it sends."""


def expected(plan: Plan, layout: Layout, inputs: Sequence[Array], combine: Combine = np.add) -> list[Array]:
    """The outputs of all ranks for their inputs: blocks exchanged as the collective says, reduced in rank order."""
    size, root, item = plan.size, plan.root, layout.itemsize
    blocks = [
        [given[o // item : (o + n) // item] for o, n in _blocks(plan, layout.inputs[r])]
        for r, given in enumerate(inputs)
    ]
    none = inputs[0][:0]

    def total(k: int) -> Array:
        return functools.reduce(combine, [blocks[r][k] for r in range(size)])

    def joined(parts: Sequence[Array]) -> Array:
        return np.concatenate([none, *parts])

    ranks = range(size)
    match Collective.of(plan.collective):
        case Collective.ALL_REDUCE:
            return [total(0) for _ in ranks]
        case Collective.ALL_GATHER:
            return [joined([blocks[q][0] for q in ranks]) for _ in ranks]
        case Collective.REDUCE_SCATTER:
            return [total(r) for r in ranks]
        case Collective.BROADCAST:
            assert root is not None
            return [blocks[root][0] for _ in ranks]
        case Collective.REDUCE:
            return [total(0) if r == root else none for r in ranks]
        case Collective.GATHER:
            return [joined([blocks[q][0] for q in ranks]) if r == root else none for r in ranks]
        case Collective.SCATTER:
            assert root is not None
            return [blocks[root][r] for r in ranks]
        case Collective.ALL_TO_ALL:
            return [joined([blocks[q][r] for q in ranks]) for r in ranks]
        case Collective.SEND_RECV:
            return [none, blocks[0][0]]
        case _:
            return [none for _ in ranks]


def _blocks(plan: Plan, chunks: Sequence[Extent]) -> list[Extent]:
    """The extents of whole blocks, of `split` chunks each."""
    groups = [chunks[i : i + plan.split] for i in range(0, len(chunks), plan.split)]
    return [(group[0][0], sum(n for _, n in group)) for group in groups]


def variable_layout(plan: Plan, counts: Counts) -> Layout:
    """The explicit layout of a variable-count call. `counts[r][k]` is the length of block k of rank r's larger side."""

    def packed(lengths: Sequence[int]) -> tuple[Extent, ...]:
        ends = np.cumsum([0, *lengths])
        return tuple((int(o), int(n)) for o, n in zip(ends, lengths, strict=False))

    ranks, root = range(plan.size), plan.root
    row = counts[0]
    sides: list[tuple[Sequence[int], Sequence[int]]]
    match Collective.of(plan.collective):
        case Collective.ALL_GATHER:
            sides = [([row[r]], row) for r in ranks]
        case Collective.REDUCE_SCATTER:
            sides = [(row, [row[r]]) for r in ranks]
        case Collective.GATHER:
            sides = [([row[r]], row if r == root else []) for r in ranks]
        case Collective.SCATTER:
            sides = [(row if r == root else [], [row[r]]) for r in ranks]
        case _:
            sides = [(counts[r], [counts[q][r] for q in ranks]) for r in ranks]
    return Layout.explicit(plan, tuple(packed(i) for i, _ in sides), tuple(packed(o) for _, o in sides), ITEM)


def machine(plan: Plan, layout: Layout, in_place: bool, seed: int) -> Machine:
    """A machine whose ranks have buffers for that layout, shared by input and output as NCCL does in place."""
    inputs, outputs = [], []
    for rank in range(plan.size):
        reads = sum(n for _, n in layout.inputs[rank]) // ITEM
        writes = sum(n for _, n in layout.outputs[rank]) // ITEM
        if in_place:
            shared = Memory(max(reads, writes), plan.size)
            # the smaller buffer is its rank's own block of the larger one
            larger = layout.outputs[rank] if writes > reads else layout.inputs[rank]
            own = larger[rank][0] // ITEM if len(larger) == plan.size > 1 and reads != writes else 0
            inputs.append(Buffer(shared, own if reads < writes else 0))
            outputs.append(Buffer(shared, own if writes < reads else 0))
        else:
            inputs.append(Buffer(Memory(reads, plan.size)))
            outputs.append(Buffer(Memory(writes, plan.size)))
    return Machine(plan, layout, inputs, outputs, seed)


def with_short_pieces(plan: Plan, unit: int = 64) -> Plan:
    """The same plan with loops over pieces of `unit` bytes, so that short messages take many of them."""
    units = {i.unit for r in plan.ranks for b in r.blocks for i in b if isinstance(i, Loop)}
    if not units:
        return plan
    (long,) = units
    ring = plan.scratch_chunk_bytes

    def shortened(block: Sequence[Instruction]) -> tuple[Instruction, ...]:
        return tuple(replace(i, unit=unit) if isinstance(i, Loop) else i for i in block)

    ranks = tuple(replace(rank, blocks=tuple(map(shortened, rank.blocks))) for rank in plan.ranks)
    return replace(plan, ranks=ranks, scratch_chunk_bytes=None if ring is None else ring * unit // long)
