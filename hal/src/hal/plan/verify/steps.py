"""A plan in one layout, prepared for execution: operands as numbered buffers and byte offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hal.interface.errors import PlanError
from hal.plan.ends import other_ends
from hal.plan.findings import Where
from hal.plan.layout import Layout
from hal.plan.lower import loop_pieces
from hal.plan.model import BufferKind, Instruction, Loop, Move, Plan, Post, Span
from hal.plan.text import Path, describe
from hal.plan.verify.value import CALL

INPUT, OUTPUT, SCRATCH, PACKETS = range(4)
PACKET_DATA = 4
"""Bytes of data in a packet."""

BUFFERS = {BufferKind.INPUT: INPUT, BufferKind.OUTPUT: OUTPUT, BufferKind.SCRATCH: SCRATCH}

Operand = tuple[int, int]
"""A buffer, as `4 * rank + kind`, and the byte at which the operand begins."""


@dataclass(slots=True)
class Transfer:
    """A move or post: the same length in every operand."""

    sources: list[Operand]
    targets: list[Operand]
    length: int
    op: str
    final: bool


@dataclass(slots=True)
class Step:
    """An instruction at its place in the plan. Its number tells it from all others."""

    number: int
    block: int
    """The block's number among the blocks of all ranks."""
    path: Path
    instruction: Instruction
    loop: Loop | None
    transfer: Transfer | None


@dataclass
class Block:
    """One block of one rank."""

    index: int
    rank: int
    number: int
    body: list[Step | tuple[int, list[Step]]]
    """Steps, and loops as their number of pieces and the steps of one."""


class Program:
    """All blocks of a valid plan in one layout. `problems` are operands that do not fit, with their steps."""

    def __init__(self, plan: Plan, layout: Layout) -> None:
        self.plan = plan
        self.layout = layout
        self.pieces = loop_pieces(plan, layout)
        self.steps: list[Step] = []
        self.blocks: list[Block] = []
        self.problems: list[tuple[Step, str]] = []
        self.forms: set[int] = set()
        """In which forms scratch is used: plain, in packets."""
        self.first_block: list[int] = []
        for rank, part in enumerate(plan.ranks):
            self.first_block.append(len(self.blocks))
            for number, instructions in enumerate(part.blocks):
                self.blocks.append(self._block(rank, number, instructions))
        self.first_block.append(len(self.blocks))
        self.others = other_ends(plan)

    def blocks_of(self, rank: int) -> range:
        """The numbers of a rank's blocks among all."""
        return range(self.first_block[rank], self.first_block[rank + 1])

    def instance(self, step: Step, piece: int) -> int:
        """A number that tells a step in one piece of its loop from all others."""
        return step.number + piece * len(self.steps)

    def where(self, instance: int) -> Where:
        """The place of a step, for findings."""
        piece, number = divmod(instance, len(self.steps))
        found = self.steps[number]
        block = self.blocks[found.block]
        instruction = found.instruction
        text = describe(instruction, self.plan.ranks[block.rank].channels)
        in_loop = piece if found.loop else None
        return Where(block.rank, block.number, found.path, text, instruction.source, in_loop)

    def _block(self, rank: int, number: int, instructions: Sequence[Instruction]) -> Block:
        block = Block(len(self.blocks), rank, number, [])
        for index, instruction in enumerate(instructions):
            if isinstance(instruction, Loop):
                inner = [self._step(block, (index, i), each, instruction) for i, each in enumerate(instruction.body)]
                block.body.append((self.pieces[instruction.unit], inner))
            else:
                block.body.append(self._step(block, (index,), instruction, None))
        return block

    def _step(self, block: Block, path: Path, instruction: Instruction, loop: Loop | None) -> Step:
        step = Step(len(self.steps), block.index, path, instruction, loop, None)
        self.steps.append(step)
        if isinstance(instruction, Move | Post):
            try:
                step.transfer = self._transfer(block.rank, instruction, loop)
            except PlanError as error:
                self.problems.append((step, error.message))
        return step

    def _transfer(self, rank: int, instruction: Move | Post, loop: Loop | None) -> Transfer:
        channels = self.plan.ranks[rank].channels
        if isinstance(instruction, Post):
            sources = [(rank, instruction.src)]
            targets = [(channels[instruction.channel].peer, instruction.dst)]
            op, final = CALL, False
        else:
            sources = [(owner, span) for span in instruction.src for owner in self._owners(rank, span)]
            targets = [(owner, span) for span in instruction.dst for owner in self._owners(rank, span)]
            op, final = CALL if instruction.op is None else instruction.op.label, instruction.final
        whole = self._length(sources + targets)
        skipped, length = self.layout.part(whole, instruction.part, instruction.parts, self.plan.align)

        if instruction.parts > 1 and self.plan.align % PACKET_DATA and any(s.packet for _, s in sources + targets):
            raise PlanError(f"parts cut at multiples of {self.plan.align} bytes may begin inside a packet")

        chunks = max((s.size for _, s in sources + targets if s.buffer is not BufferKind.SCRATCH), default=0)
        used = min(chunks, (instruction.part + 1) * -(-chunks // instruction.parts))

        def place(owner: int, span: Span) -> Operand:
            if span.buffer is not BufferKind.SCRATCH:
                return 4 * owner + BUFFERS[span.buffer], self.layout.extent(owner, span)[0] + skipped
            room = self.layout.scratch_chunk * span.size
            need = skipped + (length if loop is None or not loop.slots else min(length, loop.slots * loop.unit))
            if need > room:
                raise PlanError(f"{need} bytes do not fit into {span.size} scratch chunks of {room} bytes")
            if used > span.size and self.plan.scratch_chunk_bytes is None:
                raise PlanError(f"{used} chunks of data do not fit into {span.size} of scratch at every count")
            kind = PACKETS if span.packet else SCRATCH
            self.forms.add(kind)
            return 4 * owner + kind, self.layout.scratch_chunk * span.index + skipped

        return Transfer([place(*s) for s in sources], [place(*t) for t in targets], length, op, final)

    def _owners(self, rank: int, span: Span) -> tuple[int, ...]:
        if span.switch is not None:
            return self.plan.ranks[rank].channels[span.switch].peers
        return (rank if span.peer is None else span.peer,)

    def _length(self, operands: Sequence[tuple[int, Span]]) -> int:
        found = set()
        pieces = set()
        split = self.plan.split
        for owner, span in operands:
            if span.buffer is not BufferKind.SCRATCH:
                pieces.add(span.index % split if span.size % split else 0)
                found.add(self.layout.extent(owner, span)[1])
            elif self.plan.even:
                found.add(span.size * self.layout.longest)
        if len(found) != 1:
            raise PlanError(f"operands differ in length ({', '.join(map(str, sorted(found)))} bytes)")
        if len(pieces) > 1 and not self.plan.even:
            listed = " and ".join(map(str, sorted(pieces)))
            raise PlanError(
                f"operands begin with pieces {listed} of a count, which are not equally long at every count"
            )
        return found.pop()


def at_piece(transfer: Transfer, loop: Loop | None, piece: int) -> tuple[list[Operand], list[Operand], int]:
    """Sources, destinations and length of a transfer in one piece of the loop around it; length 0 past its end."""
    if loop is None:
        return transfer.sources, transfer.targets, transfer.length
    ahead = piece * loop.unit
    length = min(loop.unit, transfer.length - ahead)
    if length <= 0:
        return [], [], 0
    slot = piece % loop.slots * loop.unit if loop.slots else ahead

    def moved(operands: list[Operand]) -> list[Operand]:
        return [(buffer, offset + (slot if buffer & 3 >= SCRATCH else ahead)) for buffer, offset in operands]

    return moved(transfer.sources), moved(transfer.targets), length


def walk(block: Block) -> Iterator[tuple[Step, int]]:
    """The steps of a block in the order in which they run, each with its piece (0 outside of loops)."""
    for entry in block.body:
        if isinstance(entry, Step):
            yield entry, 0
        else:
            pieces, steps = entry
            for piece in range(pieces):
                for step in steps:
                    yield step, piece
