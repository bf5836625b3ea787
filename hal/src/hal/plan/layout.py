"""How long chunks are and where they lie, for one call of a plan.

The count of a call is cut into `plan.split` pieces at multiples of `plan.align` bytes, as evenly as that allows, so
that any count works: trailing pieces may be shorter or empty. Chunk i of a buffer is piece i % split of block
i // split. Variable-count collectives name the extent of every chunk instead.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hal.interface.errors import PlanError, UsageError
from hal.plan.model import BufferKind, Plan, Span

SCRATCH_ALIGN = 128
"""Scratch chunks start at multiples of this: two cache lines, so that neighbours never share one."""

Extent = tuple[int, int]
"""Offset and length in bytes."""


@dataclass(frozen=True)
class Layout:
    """The extents of all chunks of all ranks, in bytes, for one element size."""

    itemsize: int
    inputs: tuple[tuple[Extent, ...], ...]
    outputs: tuple[tuple[Extent, ...], ...]
    scratch_chunk: int
    """Bytes of a scratch chunk; packet operands use twice as many, at twice the offset."""
    longest: int
    """Bytes of the longest chunk of data; in an `even` plan of every chunk."""

    @classmethod
    def uniform(cls, plan: Plan, count: int, itemsize: int) -> Layout:
        """The layout of a call of `count` elements of `itemsize` bytes, the same on every rank.

        `UsageError` where the plan is `even` and the count is not one that it serves.
        """
        if plan.even:
            _check_even(plan, count, itemsize)
        pieces = cut(count, plan.split, max(1, plan.align // itemsize))
        block = count * itemsize

        def extents(chunks: int) -> tuple[Extent, ...]:
            return tuple(
                (i // plan.split * block + pieces[i % plan.split][0] * itemsize, pieces[i % plan.split][1] * itemsize)
                for i in range(chunks)
            )

        cache = {n: extents(n) for r in plan.ranks for n in (r.input_chunks, r.output_chunks)}
        longest = max((length for _, length in pieces), default=0) * itemsize
        return cls(
            itemsize,
            tuple(cache[r.input_chunks] for r in plan.ranks),
            tuple(cache[r.output_chunks] for r in plan.ranks),
            _scratch_chunk(plan, longest),
            longest,
        )

    @classmethod
    def explicit(
        cls,
        plan: Plan,
        inputs: tuple[tuple[Extent, ...], ...],
        outputs: tuple[tuple[Extent, ...], ...],
        itemsize: int,
    ) -> Layout:
        """A layout of given extents in elements, one for each chunk of each rank's input and output."""

        def in_bytes(extents: tuple[tuple[Extent, ...], ...]) -> tuple[tuple[Extent, ...], ...]:
            return tuple(tuple((o * itemsize, n * itemsize) for o, n in rank) for rank in extents)

        if plan.even:
            raise PlanError(f"plan {plan.name!r} needs equal chunks, which a call of variable counts does not have")
        longest = max((n for rank in (*inputs, *outputs) for _, n in rank), default=0) * itemsize
        return cls(itemsize, in_bytes(inputs), in_bytes(outputs), _scratch_chunk(plan, longest), longest)

    def part(self, length: int, part: int, parts: int, align: int) -> Extent:
        """Offset and length in bytes of part `part` of `parts` of an operand of `length` bytes."""
        if parts == 1:
            return 0, length
        first, elements = cut(length // self.itemsize, parts, max(1, align // self.itemsize))[part]
        return first * self.itemsize, elements * self.itemsize

    def extent(self, rank: int, span: Span) -> Extent:
        """Offset and length in bytes of an input or output span of `rank`'s memory.

        `PlanError` where its chunks are not adjacent (possible in variable-count layouts alone).
        """
        chunks = (self.inputs if span.buffer is BufferKind.INPUT else self.outputs)[rank]
        first, last = chunks[span.index], chunks[span.index + span.size - 1]
        length = last[0] + last[1] - first[0]
        if length != sum(n for _, n in chunks[span.index : span.index + span.size]):
            raise PlanError(f"chunks {span.index} to {span.index + span.size - 1} of {span.buffer.value} do not adjoin")
        return first[0], length

    def shared(self, plan: Plan, rank: int) -> Extent | None:
        """Where the input and where the output of `rank` begin in the memory that they share in place, in bytes.

        They are the same where they are equally long; else the shorter is the rank's block of the longer, as in NCCL.
        None at a rank that has only one of them.
        """
        inputs, outputs = self.inputs[rank], self.outputs[rank]
        if not inputs or not outputs:
            return None
        if len(inputs) == len(outputs):
            return 0, 0
        if len(inputs) < len(outputs):
            return outputs[rank * plan.split][0], 0
        return 0, inputs[rank * plan.split][0]


def unshared(plan: Plan) -> int | None:
    """The first rank for which `Layout.shared` is not defined, as may be in custom plans; None where it always is."""
    for number, rank in enumerate(plan.ranks):
        few, many = sorted((rank.input_chunks, rank.output_chunks))
        if few and few != many and (few != plan.split or many < (number + 1) * plan.split):
            return number
    return None


def needed(extents: Sequence[Extent]) -> int:
    """The bytes of a buffer that holds these extents."""
    return max((offset + length for offset, length in extents), default=0)


def cut(count: int, pieces: int, align: int) -> list[Extent]:
    """Cut `count` elements into `pieces` of nearly equal length at multiples of `align`; (offset, length) each."""
    units, extra = divmod(-(-count // align), pieces)
    bounds = [min(count, (i * units + min(i, extra)) * align) for i in range(pieces + 1)]
    return [(a, b - a) for a, b in itertools.pairwise(bounds)]


def _check_even(plan: Plan, count: int, itemsize: int) -> None:
    step = math.lcm(plan.split * plan.align, itemsize) // itemsize
    if count % step:
        below = count - count % step
        raise UsageError(
            f"plan {plan.name!r} cuts a count into {plan.split} equal chunks of whole {plan.align} bytes, which "
            f"{count} elements of {itemsize} bytes are not: allowed are multiples of {step}, the nearest are "
            f"{below} and {below + step}"
        )


def _scratch_chunk(plan: Plan, longest: int) -> int:
    if plan.even:
        # no longer than the data, so that ranges of chunks are what they would be in scratch as long as the data
        return longest if plan.scratch_chunk_bytes is None else min(longest, plan.scratch_chunk_bytes)
    size = longest if plan.scratch_chunk_bytes is None else plan.scratch_chunk_bytes
    return -(-size // SCRATCH_ALIGN) * SCRATCH_ALIGN
