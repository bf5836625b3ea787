"""Lowering: one rank's part of a plan, for one call, as the flat words that a native executor loads.

All names are resolved: chunks to byte offsets, channels to pairs of ranks, switch operands to their members. The words
are int64; each instruction is `[opcode, number of words that follow, position, …]`. The position is its number in the
block, those inside loops counted:

| opcode | words |
|---|---|
| MOVE | op, divisor, nbytes, nsrc, ndst, then for each operand: rank, buffer, offset, packet (sources first) |
| SIGNAL, WAIT | broadcast (0/1), number of channels, then for each: peer, channel slot, plan channel index |
| BARRIER | id, blocks |
| ACQUIRE, RELEASE | semaphore |
| SYNC | |
| LOOP | unit, slots, pieces, number of words of the body; the body follows |

The slot of a channel is the same on both of its ends: a number that, with the two ranks, names its counter.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import PlanError
from hal.plan.layout import Extent, Layout
from hal.plan.memo import once_per_plan
from hal.plan.model import (
    Acquire,
    Barrier,
    BufferKind,
    ChannelKind,
    Flush,
    Instruction,
    Loop,
    Move,
    Plan,
    Post,
    Release,
    Signal,
    Span,
    Sync,
    Wait,
)


class Opcode(enum.IntEnum):
    """The instructions of a lowered program."""

    MOVE = 1
    SIGNAL = 2
    WAIT = 3
    BARRIER = 4
    ACQUIRE = 5
    RELEASE = 6
    SYNC = 7
    LOOP = 8


BUFFER_CODE = {BufferKind.INPUT: 0, BufferKind.OUTPUT: 1, BufferKind.SCRATCH: 2}


@dataclass(frozen=True)
class Program:
    """One rank's lowered part: words a block, initial semaphores, and what it needs of the executor."""

    plan: Plan
    """What it was lowered from; reports quote it."""
    rank: int
    dtype: DType
    op: ReduceOp
    blocks: tuple[tuple[int, ...], ...]
    semaphores: tuple[int, ...]
    scratch_bytes: int
    """Scratch that any rank of the plan uses in one launch."""
    scratch_reach: int | None
    """How far moves of any rank reach into it: less where the last chunk is not full. None where some use packets."""
    channel_slots: int
    """Counters needed for each ordered pair of ranks."""
    maps_input: bool
    """Whether any rank reaches another's input directly, so that inputs must be mapped memory on every rank."""
    maps_output: bool
    """The same of outputs."""


def lower(plan: Plan, rank: int, layout: Layout, dtype: DType, op: ReduceOp = ReduceOp.SUM) -> Program:
    """Lower `rank`'s part of a structurally valid plan; `PlanError` where operands differ in length."""
    known = _analyse(plan)
    lowering = _Lowering(plan, rank, layout, dtype, op, known)
    blocks = tuple(tuple(lowering.block(number, block)) for number, block in enumerate(plan.ranks[rank].blocks))
    scratch = scratch_needed(plan, layout)
    unused = max(0, layout.scratch_chunk - layout.longest) if scratch else 0
    return Program(
        plan=plan,
        rank=rank,
        dtype=dtype,
        op=op,
        blocks=blocks,
        semaphores=plan.ranks[rank].semaphores,
        scratch_bytes=scratch,
        scratch_reach=None if known.packets else scratch - unused,
        channel_slots=1 + max((s for r in known.slots for s in r), default=-1),
        maps_input=BufferKind.INPUT in known.mapped,
        maps_output=BufferKind.OUTPUT in known.mapped,
    )


def scratch_needed(plan: Plan, layout: Layout) -> int:
    """Bytes of scratch that a rank must have for one launch of a structurally valid plan."""
    chunks = max(r.scratch_chunks for r in plan.ranks)
    return chunks * layout.scratch_chunk * (2 if _analyse(plan).packets else 1)


def walk(instructions: Iterable[Instruction]) -> Iterable[Instruction]:
    """All instructions, those inside loops included."""
    for instruction in instructions:
        yield instruction
        if isinstance(instruction, Loop):
            yield from walk(instruction.body)


def loop_pieces(plan: Plan, layout: Layout) -> dict[int, int]:
    """For each unit of a loop in the plan, how many pieces the loops of that unit run, on all ranks alike."""
    pieces = {}
    for unit, operands in _loop_operands(plan).items():
        longest = 0
        for member, span, part, parts in operands:
            scratch = span.buffer is BufferKind.SCRATCH
            whole = span.size * layout.longest if scratch else layout.extent(member, span)[1]
            longest = max(longest, layout.part(whole, part, parts, plan.align)[1])
        pieces[unit] = -(-longest // unit)
    return pieces


@once_per_plan
def _loop_operands(plan: Plan) -> dict[int, set[tuple[int, Span, int, int]]]:
    """For each unit the different ranges that its loops go through: each with its rank, and the part moved of it.

    Ranges of scratch count where it is cut as the data is, in `even` plans.
    """
    found: dict[int, set[tuple[int, Span, int, int]]] = {}
    for number, rank in enumerate(plan.ranks):
        for loop in (i for block in rank.blocks for i in walk(block) if isinstance(i, Loop)):
            operands = found.setdefault(loop.unit, set())
            for instruction in loop.body:
                if not isinstance(instruction, Move | Post):
                    continue
                for member, span in _operands(plan, number, instruction):
                    if plan.even or span.buffer is not BufferKind.SCRATCH:
                        plain = Span(span.buffer, span.index, span.size)
                        operands.add((member, plain, instruction.part, instruction.parts))
    return found


def _operands(plan: Plan, rank: int, instruction: Move | Post) -> Iterable[tuple[int, Span]]:
    """The operands of an instruction of `rank`, each with a rank whose memory it lies in."""
    channels = plan.ranks[rank].channels
    if isinstance(instruction, Post):
        return [(channels[instruction.channel].peer, instruction.dst), (rank, instruction.src)]
    operands: list[tuple[int, Span]] = []
    for span in (*instruction.dst, *instruction.src):
        member = channels[span.switch].peer if span.switch is not None else span.peer
        operands.append((rank if member is None else member, span))
    return operands


def spans(plan: Plan) -> Iterable[Span]:
    """All operands of a plan."""
    for rank in plan.ranks:
        for block in rank.blocks:
            yield from spans_of(block)


def spans_of(instructions: Iterable[Instruction]) -> Iterable[Span]:
    """All operands of these instructions, those inside loops included."""
    for instruction in walk(instructions):
        if isinstance(instruction, Move):
            yield from instruction.dst
            yield from instruction.src
        elif isinstance(instruction, Post):
            yield instruction.dst
            yield instruction.src


def mapped_buffers(plan: Plan) -> set[BufferKind]:
    """Which of input and output some rank reaches in another's memory."""
    remote = {s.buffer for s in spans(plan) if s.peer is not None or s.switch is not None}
    posted = {i.dst.buffer for rank in plan.ranks for block in rank.blocks for i in walk(block) if isinstance(i, Post)}
    return (remote | posted) - {BufferKind.SCRATCH}


@once_per_plan
def uses_switches(plan: Plan) -> bool:
    """Whether some instruction reaches a switch group's memory."""
    return any(span.switch is not None for span in spans(plan))


@dataclass(frozen=True)
class _Analysis:
    """What the lowering of every rank needs to know of the whole plan."""

    slots: list[list[int]]
    """For each rank and channel its slot; -1 for a switch channel, which has no counter."""
    broadcasters: set[int]
    """Ranks whose every signal on first channels reaches all others at once, from one block.

    Such a rank needs one counter that all others watch in place of one for each. Both ends find the same answer,
    since both hold the whole plan.
    """
    mapped: set[BufferKind]
    packets: bool


@once_per_plan
def _analyse(plan: Plan) -> _Analysis:
    slots = _channel_slots(plan)
    broadcasters = {r for r in range(plan.size) if _broadcasts(plan, r, slots[r])}
    return _Analysis(slots, broadcasters, mapped_buffers(plan), any(s.packet for s in spans(plan)))


def _channel_slots(plan: Plan) -> list[list[int]]:
    """A channel's slot is its number among the memory channels to the same peer; port channels come after these."""
    ends = [Counter((c.kind, p) for c in r.channels for p in c.peers) for r in plan.ranks]
    result = []
    for number, rank in enumerate(plan.ranks):
        seen: Counter[tuple[ChannelKind, int]] = Counter()
        slots = []
        for channel in rank.channels:
            if channel.kind is ChannelKind.SWITCH:
                slots.append(-1)
                continue
            key = (channel.kind, channel.peer)
            # an end that only one side lists exists on the other too
            memory = max(ends[number][ChannelKind.MEMORY, channel.peer], ends[channel.peer][ChannelKind.MEMORY, number])
            slots.append(seen[key] + (memory if channel.kind is ChannelKind.PORT else 0))
            seen[key] += 1
        result.append(slots)
    return result


def _broadcasts(plan: Plan, number: int, slots: list[int]) -> bool:
    rank = plan.ranks[number]
    others = set(range(plan.size)) - {number}
    blocks = set()
    for block_number, block in enumerate(rank.blocks):
        for instruction in walk(block):
            if isinstance(instruction, Post) and instruction.signal and slots[instruction.channel] == 0:
                return False
            if isinstance(instruction, Signal):
                first = {rank.channels[c].peer for c in instruction.channels if slots[c] == 0}
                if first:
                    blocks.add(block_number)
                    if first != others:
                        return False
    return len(blocks) == 1


class _Lowering:
    def __init__(self, plan: Plan, rank: int, layout: Layout, dtype: DType, op: ReduceOp, known: _Analysis) -> None:
        self.plan = plan
        self.rank = rank
        self.layout = layout
        self.dtype = dtype
        self.op = op
        self.slots = known.slots[rank]
        self.broadcast = known.broadcasters
        self.pieces = loop_pieces(plan, layout)
        self.at = ""
        self.position = -1

    def block(self, number: int, instructions: Sequence[Instruction]) -> list[int]:
        words: list[int] = []
        self.position = -1
        for index, instruction in enumerate(instructions):
            self.at = f"rank {self.rank}, block {number}, instruction {index}"
            words += self.instruction(instruction, None)
        return words

    def words(self, opcode: Opcode, *words: int) -> list[int]:
        return [int(opcode), 1 + len(words), self.position, *words]

    def instruction(self, instruction: Instruction, loop: Loop | None) -> list[int]:
        self.position += 1
        match instruction:
            case Move():
                return self.move(instruction, loop)
            case Post():
                peer = self.plan.ranks[self.rank].channels[instruction.channel].peer
                dst = replace(instruction.dst, peer=peer)
                move = Move((dst,), (instruction.src,), part=instruction.part, parts=instruction.parts)
                words = self.move(move, loop)
                return words + (self.channels(Opcode.SIGNAL, (instruction.channel,)) if instruction.signal else [])
            case Signal():
                return self.channels(Opcode.SIGNAL, instruction.channels)
            case Wait():
                return self.channels(Opcode.WAIT, instruction.channels)
            case Barrier():
                return self.words(Opcode.BARRIER, instruction.id, instruction.blocks)
            case Acquire():
                return self.words(Opcode.ACQUIRE, instruction.semaphore)
            case Release():
                return self.words(Opcode.RELEASE, instruction.semaphore)
            case Sync() | Flush():
                # posts are lowered to moves, so that a flush finds nothing outstanding
                return self.words(Opcode.SYNC)
            case Loop():
                return self.loop(instruction)

    def channels(self, opcode: Opcode, channels: tuple[int, ...]) -> list[int]:
        """A signal or wait, cut in two where some of its channels use the sender's common counter."""
        ends = [(self.plan.ranks[self.rank].channels[c].peer, self.slots[c], c) for c in channels]
        common = [
            end for end in ends if end[1] == 0 and (self.rank if opcode is Opcode.SIGNAL else end[0]) in self.broadcast
        ]
        single = [end for end in ends if end not in common]
        words: list[int] = []
        for flag, group in ((1, common), (0, single)):
            if group:
                words += self.words(opcode, flag, len(group), *(w for end in group for w in end))
        return words

    def move(self, move: Move, loop: Loop | None) -> list[int]:
        whole = self.length(move)
        skipped, length = self.layout.part(whole, move.part, move.parts, self.plan.align)
        sources = [o for s in move.src for o in self.operands(s, skipped, length, loop)]
        targets = [o for s in move.dst for o in self.operands(s, skipped, length, loop)]
        op = self.op if move.op is None else move.op
        divisor = 1
        if op is ReduceOp.AVG:
            divisor = self.plan.size if move.final else 1
            if divisor == 1:
                op = ReduceOp.SUM
        flat = [w for operand in sources + targets for w in operand]
        return self.words(Opcode.MOVE, int(op), divisor, length, len(sources), len(targets), *flat)

    def length(self, move: Move) -> int:
        """Bytes of the whole range of every operand."""
        lengths = {self.extent(s)[1] for s in (*move.dst, *move.src) if s.buffer is not BufferKind.SCRATCH}
        if self.plan.even:
            lengths |= {s.size * self.layout.longest for s in (*move.dst, *move.src) if s.buffer is BufferKind.SCRATCH}
        if len(lengths) != 1:
            why = f"differ in length ({', '.join(map(str, sorted(lengths)))} bytes)" if lengths else "are all scratch"
            raise PlanError(f"plan {self.plan.name!r}, {self.at}: the operands of a move {why}")
        return lengths.pop()

    def extent(self, span: Span) -> Extent:
        members = self.members(span)
        return self.layout.extent(members[0], span)

    def members(self, span: Span) -> tuple[int, ...]:
        if span.switch is not None:
            return self.plan.ranks[self.rank].channels[span.switch].peers
        return (self.rank if span.peer is None else span.peer,)

    def operands(self, span: Span, skipped: int, length: int, loop: Loop | None) -> list[tuple[int, int, int, int]]:
        """Where `length` bytes of an operand lie, from byte `skipped` on, in the memory of each of its ranks."""
        if span.buffer is BufferKind.SCRATCH:
            room = self.layout.scratch_chunk * span.size
            need = skipped + (length if loop is None or not loop.slots else min(length, loop.slots * loop.unit))
            if need > room:
                raise PlanError(
                    f"plan {self.plan.name!r}, {self.at}: {need} bytes exceed the {room} of {span.size} scratch chunks"
                )
            offset = (span.index * self.layout.scratch_chunk + skipped) * (2 if span.packet else 1)
            return [(m, BUFFER_CODE[span.buffer], offset, int(span.packet)) for m in self.members(span)]
        return [(m, BUFFER_CODE[span.buffer], self.layout.extent(m, span)[0] + skipped, 0) for m in self.members(span)]

    def loop(self, loop: Loop) -> list[int]:
        position = self.position
        body = [w for i in loop.body for w in self.instruction(i, loop)]
        pieces = self.pieces[loop.unit]
        slots = loop.slots or max(pieces, 1)
        return [Opcode.LOOP, 5, position, loop.unit, slots, pieces, len(body), *body]
