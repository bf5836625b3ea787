"""Lowered programs taken apart, changed instruction by instruction, and put together again (`hal.plan.lower`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hal.device.words import Reader, Step
from hal.plan.lower import Opcode, Program, walk
from hal.plan.model import Instruction, Post
from hal_mutant.parts import Programs

LONG = 5000
"""Instructions that do nothing but take a moment, so that others come in between."""


@dataclass(frozen=True)
class Operand:
    """Where an operand of a move lies."""

    rank: int
    buffer: int
    offset: int
    packet: int

    def at(self, nbytes: int) -> Operand:
        """What lies so many bytes further on."""
        return replace(self, offset=self.offset + nbytes * (2 if self.packet else 1))


INPUT, OUTPUT, SCRATCH = range(3)


@dataclass(frozen=True)
class Move:
    """The words of a move."""

    step: Step
    op: int
    divisor: int
    nbytes: int
    sources: tuple[Operand, ...]
    targets: tuple[Operand, ...]

    @classmethod
    def of(cls, step: Step) -> Move:
        op, divisor, nbytes, nsrc, _, *rest = step.words
        operands = [Operand(*rest[i : i + 4]) for i in range(0, len(rest), 4)]
        return cls(step, op, divisor, nbytes, tuple(operands[:nsrc]), tuple(operands[nsrc:]))

    @property
    def packets(self) -> bool:
        return any(one.packet for one in (*self.sources, *self.targets))

    def made(self) -> Step:
        """As an instruction again."""
        operands = (*self.sources, *self.targets)
        flat = [word for one in operands for word in (one.rank, one.buffer, one.offset, one.packet)]
        words = (self.op, self.divisor, self.nbytes, len(self.sources), len(self.targets), *flat)
        return replace(self.step, words=words)

    def slice(self, begin: int, nbytes: int) -> Move:
        """Some of the bytes moved."""
        sources, targets = (tuple(one.at(begin) for one in those) for those in (self.sources, self.targets))
        return replace(self, sources=sources, targets=targets, nbytes=nbytes)


def pause(step: Step) -> list[Step]:
    """A moment in which other ranks go on."""
    return [Step(Opcode.SYNC, step.position, ())] * LONG


class Changed(Programs):
    """A program whose blocks are changed one by one: `block` returns other instructions in the place of those given.

    The bodies of loops are given to it as blocks are, before what surrounds them. `instruction` tells what an
    instruction was in the plan.
    """

    def changed(self) -> Program:
        program = self.program
        self.rank = program.rank
        self.size = program.plan.size
        blocks = []
        for number, words in enumerate(program.blocks):
            self.number = number
            self._instructions: list[Instruction] = list(walk(program.plan.ranks[self.rank].blocks[number]))
            reader = Reader(self.rank, self.size, 1 << 20, 1 << 20, 1 << 60, program.dtype.itemsize)
            blocks.append(tuple(_flat(self._changed(reader.read(number, words)))))
        return replace(program, blocks=tuple(blocks))

    def _changed(self, steps: Sequence[Step]) -> list[Step]:
        inner = [replace(step, body=tuple(self._changed(step.body))) if step.body else step for step in steps]
        return list(self.block(inner))

    def block(self, steps: list[Step]) -> Iterable[Step]:
        raise NotImplementedError

    def instruction(self, step: Step) -> Instruction:
        """What the plan says there."""
        return self._instructions[step.position]

    def is_post(self, step: Step) -> bool:
        """Whether it is the move of a post."""
        return step.opcode is Opcode.MOVE and isinstance(self.instruction(step), Post)

    def is_remote(self, move: Move) -> bool:
        """Whether it stores to another rank's memory, in the plain form."""
        return not move.packets and any(one.rank != self.rank for one in move.targets)


class Moves(Changed):
    """A program whose moves are changed one by one: `move` returns those that stand in the place of one."""

    def block(self, steps: list[Step]) -> Iterator[Step]:
        for step in steps:
            if step.opcode is Opcode.MOVE:
                yield from (made.made() for made in self.move(Move.of(step)))
            else:
                yield step

    def move(self, move: Move) -> Iterable[Move]:
        raise NotImplementedError


def late(steps: Sequence[Step], *opcodes: Opcode, when: Callable[[Step], bool] = lambda step: True) -> list[Step]:
    """Where a move is followed by instructions of these kinds, and `when` is true of it, it comes after them.

    It comes so late that others have surely gone on by then: when the block has waited for them, or at its end.
    """
    result: list[Step] = []
    held: list[Step] = []
    rest = list(steps)
    while rest:
        step = rest.pop(0)
        after = [one.opcode for one in rest[: len(opcodes)]]
        if step.opcode is Opcode.MOVE and after == list(opcodes) and when(step):
            held.append(step)
            result += rest[: len(opcodes)]
            del rest[: len(opcodes)]
        else:
            result.append(step)
        if held and result[-1].opcode in _MEETINGS:
            result += held
            held = []
    return [*result, *(pause(held[0]) if held else []), *held]


_MEETINGS = (Opcode.WAIT, Opcode.ACQUIRE, Opcode.BARRIER)


def _flat(steps: Iterable[Step]) -> Iterator[int]:
    for step in steps:
        body = list(_flat(step.body))
        words = (*step.words[:3], len(body)) if step.opcode is Opcode.LOOP else step.words
        yield from (int(step.opcode), 1 + len(words), step.position, *words, *body)
