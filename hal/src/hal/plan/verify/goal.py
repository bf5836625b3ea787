"""What each collective promises: for every byte of every output the exact multiset of contributions."""

from __future__ import annotations

from collections.abc import Iterator

from hal.interface.dtypes import ReduceOp
from hal.plan.collective import Collective
from hal.plan.findings import Code, Finding, Where
from hal.plan.layout import Layout
from hal.plan.model import Plan
from hal.plan.verify.machine import Machine
from hal.plan.verify.memory import Memory
from hal.plan.verify.shadow import Segment
from hal.plan.verify.steps import INPUT, OUTPUT, Program
from hal.plan.verify.value import CALL, Value, all_of, contribution, describe, once_each, shifted

REPEATABLE = {"min", "max", "band", "bor"}
"""Operations that give the same result however often a contribution is repeated."""

MOST_PER_RANK = 4
"""Wrong ranges that are named for one rank."""


def check_results(program: Program, memory: Memory) -> Iterator[Finding]:
    """Findings for outputs that do not hold what the collective promises, and for inputs that were overwritten."""
    collective = Collective.of(program.plan.collective).uniform
    if collective in (Collective.CUSTOM, Collective.BARRIER):
        return
    wrong: list[tuple[int, str, Segment, Value]] = []
    ops: dict[str, tuple[int, Segment]] = {}
    for rank in range(program.plan.size):
        shadow, shift = memory.table[4 * rank + OUTPUT]
        found = 0
        for chunk, start, end, wanted in _promises(program.plan, program.layout, collective, rank):
            if start == end:
                continue
            for segment in shadow.cover(start + shift, end + shift):
                expected = shifted(wanted, segment.start - shift - start)
                if not _agrees(segment.value, expected, collective) and found < MOST_PER_RANK:
                    found += 1
                    wrong.append((rank, f"output[{chunk}] of rank {rank}", segment, expected))
                if segment.value is not None and segment.value.op is not None:
                    ops.setdefault(segment.value.op, (rank, segment))
    for rank, what, segment, expected in wrong:
        yield _wrong(program, memory, rank, what, segment, expected, collective)
    if len(ops) > 1 and not wrong:
        named = " and ".join(f"{'that of the call' if op == CALL else op} on rank {ops[op][0]}" for op in sorted(ops))
        where = tuple(program.where(ops[op][1].step) for op in sorted(ops))
        yield Finding(Code.WRONG_RESULT, f"outputs are reduced by different operations: {named}", where, memory.sharing)
    if not memory.in_place:
        yield from _overwritten(program, memory)


def operations(program: Program, memory: Memory) -> tuple[ReduceOp, ...]:
    """The reductions for which outputs that are right are so: all, unless the plan names one."""
    collective = Collective.of(program.plan.collective)
    if collective is Collective.CUSTOM:
        return tuple(ReduceOp)
    if not collective.reduces:
        return ()
    shadows = (memory.table[4 * rank + OUTPUT][0] for rank in range(program.plan.size))
    values = (segment.value for shadow in shadows for segment in shadow.segments())
    named = {value.op for value in values if value is not None} - {None, CALL}
    return tuple(op for op in ReduceOp if not named or op.label in named)


def check_barrier(machine: Machine, program: Program) -> Iterator[Finding]:
    """A barrier ends on a rank only after every rank has begun."""
    if Collective.of(program.plan.collective) is not Collective.BARRIER:
        return
    for rank in range(program.plan.size):
        passed = machine.end_of(rank)
        for other in range(program.plan.size):
            blocks = program.blocks_of(other)
            if other != rank and not passed[blocks.start : blocks.stop].any():
                message = f"rank {rank} may leave the barrier before rank {other} has entered it"
                yield Finding(Code.WRONG_RESULT, message)


def _promises(plan: Plan, layout: Layout, collective: Collective, rank: int) -> Iterator[tuple[int, int, int, Value]]:
    """For each chunk of a rank's output: its number, its range of bytes, and what it has to hold."""
    everyone = all_of(range(plan.size))
    split = plan.split
    for chunk, (start, length) in enumerate(layout.outputs[rank]):
        block, piece = divmod(chunk, split)
        # the rank (None for all) and the chunk of its input that this chunk comes from
        match collective:
            case Collective.ALL_REDUCE | Collective.REDUCE:
                source, origin = None, chunk
            case Collective.REDUCE_SCATTER:
                source, origin = None, rank * split + piece
            case Collective.ALL_GATHER | Collective.GATHER:
                source, origin = block, piece
            case Collective.ALL_TO_ALL:
                source, origin = block, rank * split + piece
            case Collective.SCATTER:
                source, origin = plan.root, rank * split + piece
            case Collective.BROADCAST:
                source, origin = plan.root, chunk
            case _:
                source, origin = 0, chunk
        offset = layout.inputs[source or 0][origin][0]
        if source is None:
            wanted = Value(CALL, ((offset, everyone),), plan.size, divided=True)
        else:
            wanted = contribution(source, offset)
        yield chunk, start, start + length, wanted


def _agrees(value: Value | None, expected: Value, collective: Collective) -> bool:
    if value is None:
        return False
    if not collective.reduces:
        return value == expected
    if value.op is not None and value.op != CALL and value.op in REPEATABLE:
        terms = tuple((s, once_each(count)) for s, count in value.terms)
        return value.divided and terms == expected.terms
    # one rank alone has nothing to combine, and a plan may name the operation that it is made for
    return value.divided and value.terms == expected.terms


def _wrong(
    program: Program, memory: Memory, rank: int, what: str, segment: Segment, expected: Value, collective: Collective
) -> Finding:
    longest = max(program.layout.inputs, key=len)
    chunks = sorted((offset, chunk) for chunk, (offset, _) in enumerate(longest))
    has, should = describe(segment.value, chunks), describe(expected._replace(divided=False), chunks)
    value = segment.value
    if value is not None and collective.reduces and value._replace(divided=True).terms == expected.terms:
        has += ", but no move is marked final, where an average is divided"
    shift = memory.table[4 * rank + OUTPUT][1]
    place = f"bytes {segment.start - shift} to {segment.end - shift - 1}"
    where: tuple[Where, ...] = ()
    if segment.writer >= 0:
        where = (program.where(segment.step),)
    return Finding(Code.WRONG_RESULT, f"{what}, {place}, holds {has}; promised is {should}", where, memory.sharing)


def _overwritten(program: Program, memory: Memory) -> Iterator[Finding]:
    for rank in range(program.plan.size):
        shadow, shift = memory.table[4 * rank + INPUT]
        for segment in shadow.segments():
            if segment.value is not None and segment.value != shifted(contribution(rank, 0), segment.start - shift):
                where = (program.where(segment.step),) if segment.step >= 0 else ()
                message = f"input of rank {rank}, bytes {segment.start} to {segment.end - 1}, is changed by the plan"
                yield Finding(Code.INPUT_OVERWRITTEN, message, where)
                break
