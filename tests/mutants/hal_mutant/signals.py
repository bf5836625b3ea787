"""Signals, semaphores and barriers, and what they order."""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from hal.device.words import Step
from hal.interface.device import Memory
from hal.interface.errors import PlanError, StallTimeout
from hal.plan.lower import Opcode, Program
from hal.plan.model import ChannelKind, Signal, Wait
from hal_mutant.catalogue import breaks
from hal_mutant.parts import Executable, Hasty
from hal_mutant.steps import SCRATCH, Changed, Move, late


def without(steps: Iterable[Step], opcode: Opcode, which: int) -> Iterator[Step]:
    """All but that one of the instructions of a kind, counted from 0."""
    seen = -1
    for step in steps:
        seen += step.opcode is opcode
        if step.opcode is not opcode or seen != which:
            yield step


def to_scratch(step: Step) -> bool:
    """Whether a move is one that other blocks may read."""
    return Move.of(step).targets[0].buffer == SCRATCH


@breaks("HAL-SEM-001", "The first wait of a block returns early.")
class EarlyWait(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        return without(steps, Opcode.WAIT, 0)


@breaks("HAL-SEM-002", "A signal counts twice.")
class DoubledSignal(Changed):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        for number, step in enumerate(steps):
            yield from [step] * (1 + (step.opcode is Opcode.SIGNAL and number % 3 == 1))


@breaks("HAL-SEM-002", "A signal is lost.", slow=True)
class LostSignal(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        return without(steps, Opcode.SIGNAL, 2)


@breaks("HAL-SEM-003", "Every other launch finds a signal of the one before.")
class LeftOverSignal(EarlyWait):
    every = 2


@breaks("HAL-SEM-004", "All channels between two ranks are one.")
class OneChannel(Changed):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        for step in steps:
            if step.opcode in (Opcode.SIGNAL, Opcode.WAIT):
                flat = [word for peer, _, channel in step.ends() for word in (peer, 0, channel)]
                step = replace(step, words=(*step.words[:2], *flat))
            yield step


@breaks("HAL-SEM-005", "A rank's own signals end its own waits.")
class OwnSignals(Changed):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        ahead: Counter[tuple[int, int]] = Counter()
        for step in steps:
            ends = [end[:2] for end in step.ends()] if step.opcode in (Opcode.SIGNAL, Opcode.WAIT) else []
            if step.opcode is Opcode.SIGNAL:
                ahead.update(ends)
            if step.opcode is not Opcode.WAIT or not all(ahead[end] for end in ends):
                yield step
            else:
                ahead.subtract(ends)


@breaks("HAL-SEM-006", "A wait for several channels waits for the first.", ranks=3)
class WaitsForTheFirst(Changed):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        for step in steps:
            yield replace(step, words=(step.words[0], 1, *step.words[2:5])) if step.opcode is Opcode.WAIT else step


@breaks("HAL-SEM-007", "No more than a thousand signals of a block may be pending.")
class FewSignals(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        if sum(step.opcode is Opcode.SIGNAL for step in steps) > 1000:
            raise PlanError("too many signals")
        return steps


@breaks("HAL-SEM-008", "Relaxed waits do not count.")
class RelaxedWaits(Changed):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        for step in steps:
            instruction = self.instruction(step)
            if not (isinstance(instruction, Wait) and instruction.relaxed):
                yield step


@breaks("HAL-SEM-009", "No more than sixteen channels lead from one rank to another.")
class FewChannels(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        if self.program.channel_slots > 16:
            raise PlanError("too many channels")
        return steps


@breaks("HAL-SEM-010", "A wait that is called from Python returns at once.")
class WaitFromPython(Hasty):
    def hasty(self) -> bool:
        return self.executor.pair_of_ranks and self.executor.rank == 1 and self.call.count == 0


@breaks("HAL-SEM-011", "The wrong class of error when the deadline of a wait has passed.")
class WaitTimesOut(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        try:
            super().run(src, src_bytes, dst, dst_bytes, timeout)
        except StallTimeout as error:
            raise TimeoutError(error.message) from None


@breaks("HAL-SEM-012", "`acquire` does not wait.")
class NoAcquire(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        return [step for step in steps if step.opcode is not Opcode.ACQUIRE]


@breaks("HAL-SEM-013", "In every other launch semaphores begin one higher.")
class SemaphoresTooHigh(Changed):
    every = 2

    def changed(self) -> Program:
        return replace(self.program, semaphores=tuple(1 + value for value in self.program.semaphores))


@breaks("HAL-SEM-014", "A barrier opens when one block is still missing.")
class OneMissing(Changed):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        for step in steps:
            yield replace(step, words=(step.words[0], step.words[1] - 1)) if step.opcode is Opcode.BARRIER else step


@breaks("HAL-SEM-015", "All barriers of two blocks are one.")
class OneBarrier(Changed):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        for step in steps:
            yield replace(step, words=(0, *step.words[1:])) if step.opcode is Opcode.BARRIER else step


@breaks("HAL-ORD-001", "A signal comes before the data.")
class SignalBeforeData(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        return late(steps, Opcode.SIGNAL, when=lambda step: not self.is_post(step) and self.is_remote(Move.of(step)))


@breaks("HAL-ORD-001", "Relaxed where release is required: the end of the data comes after the signal.")
class RelaxedSignal(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        halves: list[Step] = []
        for step, after in zip(steps, [*steps[1:], None], strict=True):
            move = Move.of(step) if step.opcode is Opcode.MOVE else None
            if move is None or move.packets or after is None or after.opcode is not Opcode.SIGNAL:
                halves.append(step)
                continue
            half = move.nbytes // self.program.dtype.itemsize // 2 * self.program.dtype.itemsize
            halves += [move.slice(0, half).made(), move.slice(half, move.nbytes - half).made()]
        return late(halves, Opcode.SIGNAL)


@breaks("HAL-ORD-002", "A rank hands on a signal before it has waited for the one that it was given.", ranks=3)
class HandsOnEarly(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        result = list(steps)
        for at in range(len(steps) - 1):
            if [one.opcode for one in result[at : at + 2]] == [Opcode.WAIT, Opcode.SIGNAL]:
                result[at], result[at + 1] = result[at + 1], result[at]
        return result


@breaks("HAL-ORD-003", "A load is done before the wait that stands before it.")
class LoadsEarly(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        result = list(steps)
        for at in range(1, len(steps) - 1):
            if [one.opcode for one in steps[at - 1 : at + 2]] == [Opcode.SIGNAL, Opcode.WAIT, Opcode.MOVE]:
                result[at], result[at + 1] = result[at + 1], result[at]
        return result


@breaks("HAL-ORD-004", "Nothing is ordered by `sync`: the move after it comes first.")
class NothingSynced(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        kinds = [step.opcode for step in steps]
        if self.size == 1 and kinds[:3] == [Opcode.MOVE, Opcode.SYNC, Opcode.MOVE]:
            return [steps[2], steps[1], steps[0], *steps[3:]]
        return steps


@breaks("HAL-ORD-005", "What a block writes before a barrier comes after it.")
class WritesAfterBarrier(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        return late(steps, Opcode.BARRIER, when=to_scratch)


@breaks("HAL-ORD-006", "What a block writes before `release` comes when it next acquires.")
class WritesAfterRelease(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        return late(steps, Opcode.RELEASE, Opcode.ACQUIRE, when=to_scratch)


@breaks("HAL-ORD-007", "A rank signals that it has read before it has.")
class SignalsBeforeReading(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        def reads(step: Step) -> bool:
            move = Move.of(step)
            return not self.is_remote(move) and any(one.buffer == SCRATCH for one in move.sources)

        return late(steps, Opcode.SIGNAL, when=reads)


@breaks("HAL-ORD-008", "Stale inputs: what the program has stored since the first launch is not seen.")
class StaleInput(Executable):
    kept: Memory | None = None

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        if src_bytes and self.kept is None:
            self.kept = self.executor.device.allocate(src_bytes)
            ctypes.memmove(self.kept.address, src, src_bytes)
        super().run(self.kept.address if self.kept else 0, src_bytes, dst, dst_bytes, timeout)


@breaks("HAL-ORD-009", "A call returns before its output is there.")
class ReturnsEarly(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        if not dst_bytes:
            super().run(src, src_bytes, dst, dst_bytes, timeout)
            return
        made = self.executor.device.allocate(dst_bytes)
        ctypes.memmove(made.address, dst, dst_bytes)
        super().run(src, src_bytes, made.address, dst_bytes, timeout)
        threading.Timer(0.003, partial(ctypes.memmove, dst, made.address, dst_bytes)).start()


@breaks("HAL-ORD-010", "What a block has acquired it has read before.")
class ReadsBeforeAcquire(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        result = list(steps)
        for at in range(len(steps) - 1):
            if [one.opcode for one in steps[at : at + 2]] == [Opcode.ACQUIRE, Opcode.MOVE]:
                result[at], result[at + 1] = result[at + 1], result[at]
        return result


def is_port(changed: Changed, step: Step) -> bool:
    """Whether a signal or wait is of port channels."""
    if not isinstance(changed.instruction(step), Signal | Wait):
        return step.opcode is Opcode.SIGNAL  # of a post
    channels = changed.program.plan.ranks[changed.rank].channels
    return all(channels[channel].kind is ChannelKind.PORT for _, _, channel in step.ends())
