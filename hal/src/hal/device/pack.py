"""Packing: a lowered program as the words that the executor kernel reads.

A head of `HEAD` words (version, blocks, channel slots, barriers, semaphores, flags, two reserved), the initial values
of the semaphores, for each block where its words begin and where the last ends, and then the words of all blocks as
`hal.plan.lower` made them, but that packets have scratch of their own, behind both halves of the other: what a launch
leaves there in plain data could pass for the flag of a later one. Where a proxy serves port channels, what goes through
one is an instruction of its own; and so are moves that use multicast memory, where the group has that:

| opcode | words |
|---|---|
| POST (9) | peer, channel slot, plan channel index, signal (0/1), then those of a MOVE of one operand to one other |
| FLUSH (10) | peer, plan channel index |
| SWITCHED (11) | are sources the same scratch of all (0/1), first of targets that are (or -1), then a MOVE's |
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hal.device.words import MOST_MEMBERS, MOST_SEMAPHORES, MOST_SLOTS, Reader, Step
from hal.interface.dtypes import ReduceOp
from hal.interface.errors import PlanError
from hal.plan.lower import BUFFER_CODE, Opcode, Program
from hal.plan.model import BufferKind, ChannelKind, Flush, Instruction, Move, Post, Span
from hal.plan.text import numbered

VERSION = 1
HEAD = 8
MAPS_INPUT, MAPS_OUTPUT, COUNTS_IN_BLOCKS = 1, 2, 4
POST, FLUSH, SWITCHED = 9, 10, 11
COUNTS = 512
"""Counters of signals that a block has room for (`BlockMemory::kCounts`)."""


@dataclass(frozen=True)
class Packed:
    """A program for the executor kernel."""

    words: NDArray[np.int64]
    """To be copied to the device as they are."""
    blocks: int
    ops: frozenset[ReduceOp]
    """The operations that its kernel must be made for (`kernel_source`); sum where it reduces nothing."""
    input_bytes: int
    """How far it reaches into the rank's own input, which a caller must hold, and output."""
    output_bytes: int
    scratch_bytes: int


def pack(program: Program, members: int, scratch_bytes: int, *, proxy: bool = False, multicast: bool = False) -> Packed:
    """Check a program for a group of `members` with `scratch_bytes` of scratch a launch, and pack it.

    A member's scratch then is four times as long: two halves, which launches use in turn, and two for packets.

    With `proxy` posts go to the queue of a host proxy; else the block that posts copies by itself, as the words have
    it. `PlanError` where the words are no program for this group, or where `proxy` cannot serve it: then pack without.
    With `multicast` switch channels of all members use the group's multicast memory for operands in scratch; other
    operands, and all without it, reach one member after the other, as the words have it.
    """
    for what, value, most in (
        ("ranks", members, MOST_MEMBERS),
        ("channels for a pair of ranks", program.channel_slots, MOST_SLOTS),
        ("semaphores", len(program.semaphores), MOST_SEMAPHORES),
    ):
        if value > most:
            raise PlanError(f"plan {program.plan.name!r} has {value} {what}, the executor kernel at most {most}")
    reader = Reader(
        program.rank,
        members,
        program.channel_slots,
        len(program.semaphores),
        scratch_bytes,
        program.dtype.itemsize,
    )
    read = [reader.read(number, words) for number, words in enumerate(program.blocks)]
    blocks = [_placed(steps, 2 * scratch_bytes) for steps in read]
    counts = members * program.channel_slots <= COUNTS and _in_one_block(blocks)
    if proxy and not counts:
        raise PlanError(
            f"plan {program.plan.name!r} signals or waits on one channel in several blocks, or has more than {COUNTS} "
            "channel ends: a proxy cannot serve its port channels"
        )
    writer = _ProxyWords if proxy else _SwitchWords if multicast else None
    words = [
        _words(steps) if writer is None else writer(program, b, members if multicast else 0).of(steps)
        for b, steps in enumerate(blocks)
    ]
    flags = MAPS_INPUT * program.maps_input | MAPS_OUTPUT * program.maps_output | COUNTS_IN_BLOCKS * counts
    head = [VERSION, len(blocks), program.channel_slots, reader.barriers, len(program.semaphores), flags, 0, 0]
    begin = HEAD + len(program.semaphores) + len(blocks) + 1
    begins = [begin + sum(map(len, words[:i])) for i in range(len(words) + 1)]
    flat = [word for block in words for word in block]
    return Packed(
        words=np.array([*head, *program.semaphores, *begins, *flat], np.int64),
        blocks=len(blocks),
        ops=frozenset(_ops(blocks)) or frozenset({ReduceOp.SUM}),
        input_bytes=reader.input_bytes,
        output_bytes=reader.output_bytes,
        scratch_bytes=program.scratch_bytes,
    )


def _placed(steps: Iterable[Step], packets_at: int) -> tuple[Step, ...]:
    """With the operands in packets from `packets_at` on in scratch."""
    placed = []
    for step in steps:
        words = list(step.words)
        if step.opcode is Opcode.MOVE:
            for at in range(5, len(words), 4):
                words[at + 2] += packets_at * words[at + 3]
        placed.append(replace(step, words=tuple(words), body=_placed(step.body, packets_at)))
    return tuple(placed)


def _all(steps: Iterable[Step]) -> Iterable[Step]:
    for step in steps:
        yield step
        yield from _all(step.body)


def _ops(blocks: Iterable[tuple[Step, ...]]) -> Iterable[ReduceOp]:
    for block in blocks:
        for step in _all(block):
            if step.opcode is Opcode.MOVE and (step.words[3] > 1 or step.words[1] > 1):
                yield ReduceOp(step.words[0])


def _in_one_block(blocks: Iterable[tuple[Step, ...]]) -> bool:
    """Whether each end of a channel is signalled in one block and waited for in one, once an instruction."""
    users: defaultdict[tuple[Opcode, int, int], set[int]] = defaultdict(set)
    for number, block in enumerate(blocks):
        for step in _all(block):
            if step.opcode in (Opcode.SIGNAL, Opcode.WAIT):
                ends = [(step.opcode, peer, slot) for peer, slot, _ in step.ends()]
                if len(set(ends)) < len(ends):
                    return False
                for end in ends:
                    users[end].add(number)
    return all(len(used) == 1 for used in users.values())


def _words(steps: Iterable[Step]) -> list[int]:
    words: list[int] = []
    for step in steps:
        if step.opcode is Opcode.LOOP:
            body = _words(step.body)
            words += [*_instruction(step.opcode, step.position, *step.words[:3], len(body)), *body]
        else:
            words += _instruction(step.opcode, step.position, *step.words)
    return words


def _instruction(opcode: int, position: int, *words: int) -> list[int]:
    return [int(opcode), 1 + len(words), position, *words]


class _SwitchWords:
    """The words of a block in which switch channels of all `members` use multicast memory (0: none do).

    Lowering makes an operand of a switch one for each member, and a post a move and a signal. What the plan had at an
    instruction's position tells what they were.
    """

    def __init__(self, program: Program, block: int, members: int) -> None:
        own = program.plan.ranks[program.rank]
        self._rank = program.rank
        self._members = members
        self._plan: list[Instruction] = [instruction for _, instruction in numbered(own.blocks[block])]
        self._channels = own.channels

    def of(self, steps: Iterable[Step]) -> list[int]:
        words: list[int] = []
        for step in steps:
            words += self._step(step)
        return words

    def _step(self, step: Step) -> list[int]:
        if step.opcode is Opcode.LOOP:
            body = self.of(step.body)
            return [*_instruction(step.opcode, step.position, *step.words[:3], len(body)), *body]
        if step.opcode is Opcode.MOVE and (switched := self._switched(step)) is not None:
            return _instruction(SWITCHED, step.position, *switched, *step.words)
        return _instruction(step.opcode, step.position, *step.words)

    def _switched(self, step: Step) -> tuple[int, int] | None:
        """Of a move whether its sources, and where its targets, are the scratch of all members; None of any other."""
        written = self._plan[step.position] if step.position < len(self._plan) else None
        if not self._members or not isinstance(written, Move):
            return None
        operands = [step.words[at : at + 4] for at in range(5, len(step.words), 4)]
        if any(operand[3] for operand in operands):
            return None
        sources = step.words[3]
        loads = len(written.src) == 1 and self._of_all(written.src, operands[:sources]) == [0]
        stores = self._of_all(written.dst, operands[sources:])
        return (int(loads), stores[0] if stores else -1) if loads or stores else None

    def _of_all(self, spans: Sequence[Span], operands: Sequence[tuple[int, ...]]) -> list[int]:
        """Where those operands begin that are the same scratch of all members, and were one span of a switch."""
        everyone, scratch = tuple(range(self._members)), BUFFER_CODE[BufferKind.SCRATCH]
        found, at = [], 0
        for span in spans:
            peers = () if span.switch is None else self._channels[span.switch].peers
            own = operands[at : at + max(1, len(peers))]
            if own and peers == everyone and list(own) == [(m, scratch, own[0][2], 0) for m in everyone]:
                found.append(at)
            at += len(own)
        return found if at == len(operands) else []


class _ProxyWords(_SwitchWords):
    """The words of a block in which what uses port channels is left to a proxy."""

    def _step(self, step: Step) -> list[int]:
        written = self._plan[step.position]
        if isinstance(written, Post):
            return self._post(step, written)
        if isinstance(written, Flush):
            return self._flush(step.position, written.channel)
        if step.opcode is Opcode.SIGNAL:
            return self._signal(step)
        return super()._step(step)

    def _post(self, step: Step, post: Post) -> list[int]:
        peer = self._channels[post.channel].peer
        words: list[int] = []
        if step.opcode is Opcode.MOVE:
            words = _instruction(POST, step.position, peer, 0, post.channel, 0, *step.words)
        else:
            words = self._signal(step)
        last = not post.signal or step.opcode is Opcode.SIGNAL
        return words + (self._flush(step.position, post.channel) if post.flush and last else [])

    def _signal(self, step: Step) -> list[int]:
        """Signals on port channels follow what was posted; the others are as they were."""
        ends = list(step.ends())
        own = [end for end in ends if self._channels[end[2]].kind is not ChannelKind.PORT]
        nothing = (0, 1, 0, 1, 1, self._rank, 0, 0, 0, self._rank, 0, 0, 0)
        words: list[int] = []
        if own:
            flat = (word for end in own for word in end)
            words += _instruction(Opcode.SIGNAL, step.position, step.words[0], len(own), *flat)
        for peer, slot, channel in ends:
            if self._channels[channel].kind is ChannelKind.PORT:
                words += _instruction(POST, step.position, peer, slot, channel, 1, *nothing)
        return words

    def _flush(self, position: int, channel: int) -> list[int]:
        return _instruction(FLUSH, position, self._channels[channel].peer, channel)
