"""Litmus plans run again and again, with new data each time, at several lengths and with ranks out of step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hal.interface.device import Memory
from hal.interface.dtypes import DType
from hal.plan.model import Plan
from hal_conformance import expect
from hal_conformance.data import Array
from hal_conformance.rank import Rank

Wanted = Callable[[Sequence[Array], int], Array]
"""Of all inputs and a rank, what its output has to be."""

COUNTS = (1, 3, 16, 100, 1021, 8192)
"""Bytes of a chunk, from less than a packet to more than a page."""


def inputs_of(rank: Rank, plan: Plan, count: int) -> list[Array]:
    """New random inputs of all ranks, the same on every one."""
    generator = np.random.default_rng(rank.random.getrandbits(64))
    return [generator.integers(0, 256, part.input_chunks * count, np.uint8) for part in plan.ranks]


def repeat(rank: Rank, plan: Plan, wanted: Wanted, *, counts: Sequence[int] = COUNTS, launches: int = 40) -> None:
    """Launch a plan many times on new data, and check every output."""
    for count in counts:
        executable = rank.load(plan, count)
        part = plan.ranks[rank.id]
        source = rank.allocate(part.input_chunks * count)
        target = rank.allocate(part.output_chunks * count)
        source = Memory(source.address, part.input_chunks * count, rank.device)
        target = Memory(target.address, part.output_chunks * count, rank.device)
        for launch in range(launches):
            inputs = inputs_of(rank, plan, count)
            rank.write(source, inputs[rank.id])
            if target.nbytes:
                rank.device.fill(target.address, 0xA0 + launch % 16, target.nbytes)
            rank.delay()
            rank.start(executable, source, target)
            seen = rank.from_device(target, target.nbytes, DType.UINT8)
            where = f"the output of launch {launch}, in chunks of {count} bytes"
            expect.same_bits(seen, wanted(inputs, rank.id), where)


def from_before(inputs: Sequence[Array], rank: int) -> Array:
    """The input of the rank before this one in the ring."""
    return inputs[rank - 1]


def own(inputs: Sequence[Array], rank: int) -> Array:
    """The own input."""
    return inputs[rank]


def chunks(array: Array, number: int) -> list[Array]:
    """An array cut into equal chunks."""
    return np.split(array, number)
