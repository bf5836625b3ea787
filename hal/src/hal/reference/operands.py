"""Where the operands of instructions lie and how long they are, in one call of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hal.interface.errors import PlanError
from hal.plan.layout import Layout
from hal.plan.model import BufferKind, Loop, Move, Plan, Post, Span
from hal.reference.memory import Place


@dataclass(frozen=True)
class Window:
    """The piece of a loop that an instruction inside it works on."""

    loop: Loop
    piece: int


@dataclass(frozen=True)
class Transfer:
    """What a move or a post does in one piece: `length` bytes from all sources to all destinations."""

    sources: tuple[Place, ...]
    targets: tuple[Place, ...]
    length: int


class Operands:
    """Finds the operands of a plan's instructions by a layout."""

    def __init__(self, plan: Plan, layout: Layout) -> None:
        self._plan = plan
        self._layout = layout
        self.pieces: dict[int, int] = self._count_pieces()
        """For each unit, how many pieces the loops of this unit run."""

    def transfer(self, rank: int, instruction: Move | Post, window: Window | None, at: str) -> Transfer:
        """What `rank` does at a move or post, whose place in the plan `at` tells; `PlanError` where it cannot be."""
        sources, targets = self._spans(rank, instruction)
        whole = self._length(sources + targets, at)
        skipped, length = self._part(instruction, whole)
        reach = length
        if window is not None:
            unit = window.loop.unit
            length = max(0, min(length - window.piece * unit, unit))

        def places(spans: Sequence[tuple[Sequence[int], Span]]) -> tuple[Place, ...]:
            return tuple(
                place for owners, span in spans for place in self._places(owners, span, reach, skipped, window, at)
            )

        return Transfer(places(sources), places(targets), length)

    def _spans(self, rank: int, instruction: Move | Post) -> tuple[list[tuple[Sequence[int], Span]], ...]:
        """Sources and destinations, each with the ranks in whose memory it lies."""
        channels = self._plan.ranks[rank].channels
        if isinstance(instruction, Post):
            return [((rank,), instruction.src)], [(channels[instruction.channel].peers, instruction.dst)]

        def owned(span: Span) -> tuple[Sequence[int], Span]:
            if span.switch is not None:
                return channels[span.switch].peers, span
            return (rank if span.peer is None else span.peer,), span

        return [owned(s) for s in instruction.src], [owned(s) for s in instruction.dst]

    def _length(self, operands: Sequence[tuple[Sequence[int], Span]], at: str) -> int:
        """The common length of the input and output operands; where chunks are even, of scratch operands too."""
        even = self._plan.even
        try:
            lengths = {
                span.size * self._layout.longest if _is_scratch(span) else self._layout.extent(owner, span)[1]
                for owners, span in operands
                if even or not _is_scratch(span)
                for owner in owners
            }
        except PlanError as error:
            raise PlanError(f"plan {self._plan.name!r}, {at}: {error.message}") from None
        if len(lengths) != 1:
            listed = ", ".join(map(str, sorted(lengths)))
            raise PlanError(f"plan {self._plan.name!r}, {at}: operands differ in length ({listed} bytes)")
        return lengths.pop()

    def _part(self, instruction: Move | Post, whole: int) -> tuple[int, int]:
        """First byte and length of the part of its operands that an instruction is about."""
        align = max(self._plan.align, self._layout.itemsize)
        units, extra = divmod(-(-whole // align), instruction.parts)
        first, end = (min(whole, (i * units + min(i, extra)) * align) for i in (instruction.part, instruction.part + 1))
        return first, end - first

    def _places(
        self, owners: Sequence[int], span: Span, length: int, skipped: int, window: Window | None, at: str
    ) -> list[Place]:
        """Where an operand begins in each owner's memory; in all pieces together `length` bytes of it are moved."""
        ahead = skipped if window is None else skipped + window.piece * window.loop.unit
        if not _is_scratch(span):
            return [Place(r, span.buffer, self._layout.extent(r, span)[0] + ahead) for r in owners]
        chunk = self._layout.scratch_chunk
        reach = skipped + length
        if window is not None and window.loop.slots:
            # a ring of pieces, which begins where the part does
            ahead = skipped + window.piece % window.loop.slots * window.loop.unit
            reach = skipped + min(length, window.loop.slots * window.loop.unit)
        if reach > span.size * chunk:
            room = f"{span.size} scratch chunks of {chunk} bytes"
            raise PlanError(f"plan {self._plan.name!r}, {at}: {reach} bytes do not fit into {room}")
        offset = span.index * chunk + ahead
        return [Place(r, span.buffer, offset * (2 if span.packet else 1), span.packet) for r in owners]

    def _count_pieces(self) -> dict[int, int]:
        longest: dict[int, int] = {}
        for rank, part in enumerate(self._plan.ranks):
            for number, block in enumerate(part.blocks):
                for loop in block:
                    if not isinstance(loop, Loop):
                        continue
                    lengths = [longest.get(loop.unit, 0)]
                    for instruction in loop.body:
                        if isinstance(instruction, Move | Post):
                            at = f"rank {rank}, block {number}, in the loop of unit {loop.unit}"
                            sources, targets = self._spans(rank, instruction)
                            lengths.append(self._part(instruction, self._length(sources + targets, at))[1])
                    longest[loop.unit] = max(lengths)
        return {unit: -(-length // unit) for unit, length in longest.items()}


def _is_scratch(span: Span) -> bool:
    return span.buffer is BufferKind.SCRATCH
