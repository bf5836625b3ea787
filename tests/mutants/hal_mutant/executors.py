"""Groups and pairs, loading, and the arguments of calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from hal.device.words import Step
from hal.interface import executor as interface
from hal.interface.errors import PlanError, UsageError
from hal.interface.executor import Call, Membership
from hal.plan.lower import Opcode, Program
from hal.plan.model import Move as PlanMove
from hal_mutant.catalogue import breaks
from hal_mutant.parts import Device, Executable, Executor
from hal_mutant.steps import OUTPUT, SCRATCH, Changed, Move, Moves


@breaks("HAL-EXE-001", "A group of one is refused.")
class NoGroupOfOne(Device):
    def create_executor(self, membership: Membership) -> interface.Executor:
        if membership.size == 1:
            raise UsageError("a group has two or more members")
        return super().create_executor(membership)


@breaks("HAL-EXE-004", "Closing a group closes all that a device has.")
class ClosesAllGroups(Executor):
    made: ClassVar[list[Executor]] = []

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.made.append(self)

    def close(self) -> None:
        for one in [one for one in self.made if one.device is self.device]:
            self.made.remove(one)
            super(ClosesAllGroups, one).close()


@breaks("HAL-EXE-005", "Members are numbered in the order of their ranks, whatever the group's is.")
class OwnOrder(Device):
    def create_executor(self, membership: Membership) -> interface.Executor:
        order = sorted(range(membership.size), key=membership.world_ranks.__getitem__)

        def exchange(value: bytes) -> list[bytes]:
            told = membership.exchange(value)
            return [told[member] for member in order]

        ranks = tuple(membership.world_ranks[member] for member in order)
        return super().create_executor(Membership(order.index(membership.rank), membership.size, exchange, ranks))


@breaks("HAL-EXE-006", "In a pair the receiver is 0 and the sender is 1.")
class PairsReversed(Executor):
    def pair(self, sender: int, receiver: int) -> interface.Executor:
        return super().pair(receiver, sender)


@breaks("HAL-EXE-007", "A pair that there is not is an error of the language.")
class KeyErrorOfPairs(Executor):
    def pair(self, sender: int, receiver: int) -> interface.Executor:
        try:
            return super().pair(sender, receiver)
        except UsageError:
            raise KeyError((sender, receiver)) from None


@breaks("HAL-EXE-008", "A call of a group that is closed does nothing.")
class SilentWhenClosed(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        if not self.executor.closed:
            super().run(src, src_bytes, dst, dst_bytes, timeout)


@breaks("HAL-EXE-009", "Loading needs all ranks of the group.", slow=True)
class LoadsTogether(Executor):
    def load(self, call: Call, program: Program, mapped: Program | None = None) -> interface.Executable:
        if not self.pair_of_ranks:
            self.membership.exchange(b"loading")
        return super().load(call, program, mapped)


@breaks("HAL-EXE-011", "An executor says that it has twice the scratch that there is.")
class HalfTheScratch(Executor):
    @property
    def scratch_bytes(self) -> int:
        return 2 * super().scratch_bytes


@breaks("HAL-EXE-012", "The program for mapped buffers is never run.")
class NeverMapped(Executor):
    def load(self, call: Call, program: Program, mapped: Program | None = None) -> interface.Executable:
        return super().load(call, program)


@breaks("HAL-EXE-013", "A move of four sources and more leaves one out.")
class FourSources(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, sources=move.sources[:-1]) if len(move.sources) >= 4 and not move.packets else move


@breaks("HAL-EXE-014", "Off by one at a tail: the byte behind a multiple of 64 is not moved.")
class ByteBehindLines(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        behind = move.nbytes > 64 and move.nbytes % 64 == 1 and not move.packets
        yield replace(move, nbytes=move.nbytes - 1) if behind else move


@breaks("HAL-EXE-015", "An output begins at a multiple of sixteen bytes.")
class OutputsAtLines(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        super().run(src, src_bytes, dst // 16 * 16, dst_bytes, timeout)


@breaks("HAL-EXE-016", "A loop leaves out its last piece.")
class LastPiece(Changed):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        for step in steps:
            if step.opcode is Opcode.LOOP and step.words[2] > 1:
                unit, slots, pieces, body = step.words
                step = replace(step, words=(unit, slots, pieces - 1, body))
            yield step


@breaks("HAL-EXE-017", "The last part of a move is empty.")
class LastPart(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        instruction = self.instruction(move.step)
        last = isinstance(instruction, PlanMove) and 1 < instruction.parts == instruction.part + 1
        yield replace(move, nbytes=0) if last else move


@breaks("HAL-EXE-018", "The output is cleared before a call, also where it is the input.")
class ClearsTheOutput(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        if src < dst + dst_bytes and dst < src + src_bytes:
            self.executor.device.fill(dst, 0, dst_bytes)
        super().run(src, src_bytes, dst, dst_bytes, timeout)


@breaks("HAL-EXE-019", "All chunks are as long as the shortest one.")
class ShortestChunk(Moves):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        moves = [Move.of(step) for step in steps if step.opcode is Opcode.MOVE]
        self.shortest = min((move.nbytes for move in moves if move.nbytes), default=0)
        yield from super().block(steps)

    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, nbytes=min(move.nbytes, self.shortest))


@breaks("HAL-EXE-020", "The input is written to.")
class WritesToTheInput(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        super().run(src, src_bytes, dst, dst_bytes, timeout)
        if src_bytes and src != dst:
            self.executor.device.fill(src + src_bytes - 1, 0x5A, 1)


@breaks("HAL-EXE-021", "Whatever is run, it is what was loaded last.")
class RunsTheLast(Executor):
    def load(self, call: Call, program: Program, mapped: Program | None = None) -> interface.Executable:
        made = super().load(call, program, mapped)
        if self.pair_of_ranks:
            return made
        self.last = made
        return _Last(self)


class _Last(interface.Executable):
    def __init__(self, executor: RunsTheLast) -> None:
        self.executor = executor

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        self.executor.last.run(src, src_bytes, dst, dst_bytes, timeout)


@breaks("HAL-EXE-022", "Who is done with a launch writes to scratch that others still read.")
class WritesToScratch(Changed):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        yield from steps
        moves = [Move.of(step) for step in steps if step.opcode is Opcode.MOVE]
        last = moves[-1] if moves else None
        if last is not None and last.targets[0].buffer == OUTPUT and last.targets[0].rank == self.rank:
            scratch = replace(last.targets[0], buffer=SCRATCH, offset=0)
            if last.nbytes <= self.program.scratch_bytes:
                yield replace(last, sources=last.targets[:1], targets=(scratch,), divisor=1).made()


@breaks("HAL-EXE-023", "A rank has no more than 32 blocks.")
class FewBlocks(Executor):
    def load(self, call: Call, program: Program, mapped: Program | None = None) -> interface.Executable:
        if len(program.blocks) > 32:
            raise PlanError("too many blocks")
        return super().load(call, program, mapped)


@breaks("HAL-EXE-024", "Whoever comes ten milliseconds late is late.")
class NoPatience(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        super().run(src, src_bytes, dst, dst_bytes, min(timeout, 0.01))


@breaks("HAL-EXE-025", "The lengths of buffers are not looked at.")
class AnyLength(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        super().run(src, 1 << 40, dst, 1 << 40, timeout)


@breaks("HAL-EXE-026", "A timeout of nothing is one of thirty seconds.")
class SomeTimeout(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        super().run(src, src_bytes, dst, dst_bytes, timeout if timeout > 0 else 30.0)
