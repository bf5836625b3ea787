"""Arithmetic, and the results of collectives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from hal.interface import executor as interface
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import PlanError
from hal.interface.executor import Call
from hal.plan.collective import Collective
from hal.plan.lower import Program
from hal.plan.model import Move as PlanMove
from hal_mutant.catalogue import breaks
from hal_mutant.parts import Executor, Hasty, Results
from hal_mutant.steps import INPUT, OUTPUT, Changed, Move, Moves

Array = NDArray[Any]


class WrongOp(Moves):
    """One operation of one type is another."""

    dtype: DType
    op: ReduceOp
    other: ReduceOp

    def move(self, move: Move) -> Iterator[Move]:
        wrong = self.program.dtype is self.dtype and move.op == self.op
        yield replace(move, op=int(self.other)) if wrong else move


@breaks("HAL-RED-001", "The wrong operation for one type: sums of uint16 are bitwise.")
class SumOfUint16(WrongOp):
    dtype, op, other = DType.UINT16, ReduceOp.SUM, ReduceOp.BXOR


@breaks("HAL-RED-002", "The wrong operation for one type: products of int8 are sums.")
class ProdOfInt8(WrongOp):
    dtype, op, other = DType.INT8, ReduceOp.PROD, ReduceOp.SUM


@breaks("HAL-RED-006", "The wrong operation for one type: exclusive or of int64 is inclusive.")
class BxorOfInt64(WrongOp):
    dtype, op, other = DType.INT64, ReduceOp.BXOR, ReduceOp.BOR


class Compares(Changed):
    """Numbers of one type are compared as those of another."""

    op: ReduceOp
    dtype: DType
    other: DType

    def changed(self) -> Program:
        wrong = (self.program.dtype, self.program.op) == (self.dtype, self.op)
        return replace(self.program, dtype=self.other) if wrong else self.program


@breaks("HAL-RED-003", "The lower of two uint64 is found as if they had signs.")
class MinOfUint64(Compares):
    op, dtype, other = ReduceOp.MIN, DType.UINT64, DType.INT64


@breaks("HAL-RED-004", "The higher of two bfloat16 is found by their bits.")
class MaxOfBfloat16(Compares):
    op, dtype, other = ReduceOp.MAX, DType.BFLOAT16, DType.INT16


@breaks("HAL-RED-005", "An average is a sum.")
class NeverDivides(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, divisor=1)


@breaks("HAL-RED-007", "Integers of 32 bits are added as floats.")
class AddsAsFloats(Results):
    def change(self, output: Array) -> None:
        if output.dtype == np.int32:
            output[...] = output.astype(np.float32).astype(np.int64)


@breaks("HAL-RED-008", "There is no NaN: it becomes zero.")
class NoNan(Results):
    def change(self, output: Array) -> None:
        if DType(self.call.dtype).is_float:
            output[np.isnan(output)] = 0


@breaks("HAL-RED-009", "Infinities become the largest number there is.")
class NoInfinity(Results):
    def change(self, output: Array) -> None:
        if DType(self.call.dtype).is_float and (infinite := np.isinf(output)).any():
            largest = ml_dtypes.finfo(output.dtype).max  # type: ignore[no-untyped-call]
            output[infinite] = np.copysign(largest, output[infinite])


@breaks("HAL-RED-010", "Denormal numbers are flushed to zero.")
class FlushesDenormals(Results):
    def change(self, output: Array) -> None:
        if DType(self.call.dtype).is_float:
            with np.errstate(invalid="ignore"):
                least = ml_dtypes.finfo(output.dtype).smallest_normal  # type: ignore[no-untyped-call]
                output[np.abs(output) < least] = 0


@breaks("HAL-RED-011", "Zeros lose their sign.")
class UnsignedZeros(Results):
    def change(self, output: Array) -> None:
        if DType(self.call.dtype).is_float:
            output[output == 0] = 0


@breaks("HAL-RED-012", "Every step of a sum is rounded.")
class RoundsEveryStep(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        target, (first, *others) = move.targets[0], move.sources
        if len(others) < 2 or move.packets or target in move.sources or self.program.op is not ReduceOp.SUM:
            yield move
            return
        for other in others:
            yield replace(move, sources=(first, other))
            first = target


@breaks("HAL-RED-013", "Sources are reduced from the last to the first.")
class FromTheLast(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, sources=move.sources[::-1])


@breaks("HAL-RED-014", "A copy makes one NaN of all.")
class OneNan(Results):
    def change(self, output: Array) -> None:
        if DType(self.call.dtype).is_float:
            output[np.isnan(output)] = np.nan


@breaks("HAL-RED-015", "A result beyond the range is the largest number there is.")
class Saturates(NoInfinity):
    def change(self, output: Array) -> None:
        if DType(self.call.dtype) is not DType.FLOAT8_E4M3:
            super().change(output)


@breaks("HAL-RED-016", "The operation that a move names does not count.")
class OpOfTheCall(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        named = isinstance(self.instruction(move.step), PlanMove) and move.divisor == 1
        yield replace(move, op=int(self.program.op)) if named else move


@breaks("HAL-RED-017", "Of many operands the first sixteen are reduced.")
class SixteenOperands(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, sources=move.sources[:16])


# collectives


class OfCollective(Moves):
    """The moves of one collective."""

    collective: Collective

    def move(self, move: Move) -> Iterator[Move]:
        yield self.wrong(move) if self.call.collective is self.collective and not move.packets else move

    def wrong(self, move: Move) -> Move:
        raise NotImplementedError


@breaks("HAL-COL-001", "An all_reduce leaves out the last rank.")
class AllReduceLacksOne(OfCollective):
    collective = Collective.ALL_REDUCE

    def wrong(self, move: Move) -> Move:
        return replace(move, sources=move.sources[:-1] or move.sources)


@breaks("HAL-COL-002", "Each rank begins an all_reduce with itself, so that they get different bits.", ranks=3)
class OwnFirst(OfCollective):
    collective = Collective.ALL_REDUCE

    def wrong(self, move: Move) -> Move:
        return replace(move, sources=(*move.sources[self.rank :], *move.sources[: self.rank]))


@breaks("HAL-COL-003", "An all_gather puts what it has gathered in the opposite order.")
class GathersBackwards(OfCollective):
    collective = Collective.ALL_GATHER

    def wrong(self, move: Move) -> Move:
        last = (self.size - 1) * move.nbytes
        targets = [replace(one, offset=last - one.offset) if one.buffer == OUTPUT else one for one in move.targets]
        return replace(move, targets=tuple(targets))


@breaks("HAL-COL-005", "A broadcast is always of the first rank's data.")
class AlwaysTheFirst(OfCollective):
    collective = Collective.BROADCAST

    def wrong(self, move: Move) -> Move:
        return replace(move, sources=tuple(replace(one, rank=0) for one in move.sources))


class OwnBlock(OfCollective):
    """A block that is read from an input is always the first one."""

    def wrong(self, move: Move) -> Move:
        sources = [replace(one, offset=0) if one.buffer == INPUT else one for one in move.sources]
        return replace(move, sources=tuple(sources))


@breaks("HAL-COL-008", "A scatter gives all ranks the first block.")
class ScattersOne(OwnBlock):
    collective = Collective.SCATTER


@breaks("HAL-COL-009", "An all_to_all gives all ranks the block that is meant for the first.")
class AllToTheFirst(OwnBlock):
    collective = Collective.ALL_TO_ALL


@breaks("HAL-COL-011", "A barrier is left at once.")
class OpenBarrier(Hasty):
    def hasty(self) -> bool:
        return self.call.collective is Collective.BARRIER


@breaks("HAL-COL-012", "A collective of nothing is refused.")
class RefusesNoElements(Executor):
    def load(self, call: Call, program: Program, mapped: Program | None = None) -> interface.Executable:
        if call.count == 0 and call.collective.reduces:
            raise PlanError("nothing to reduce")
        return super().load(call, program, mapped)
