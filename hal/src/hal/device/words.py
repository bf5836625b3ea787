"""Lowered words as instructions again, checked: words may come from outside, and a kernel checks nothing.

Every index and range is checked against what a group has, once on the host, so that the executor kernel need not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hal.interface.errors import PlanError
from hal.plan.lower import Opcode

MOST_SIGNALS = (1 << 20) - 1
"""Signals on one channel in one launch, as many as a counter has room for beside the launch's number."""
MOST_MEMBERS = 64
MOST_SLOTS = 64
MOST_BARRIERS = 1024
MOST_SEMAPHORES = 1024

_SCRATCH = 2
_PACKET_BYTES = 8
_BIGGEST = (1 << 63) - 1


@dataclass(frozen=True)
class Step:
    """One instruction. `words` are those that follow the position; a loop's body is `body`."""

    opcode: Opcode
    position: int
    words: tuple[int, ...]
    body: tuple[Step, ...] = ()

    def ends(self) -> Iterator[tuple[int, int, int]]:
        """Of a signal or wait: peer, slot and the plan's channel of each."""
        for i in range(self.words[1]):
            peer, slot, channel = self.words[2 + 3 * i : 5 + 3 * i]
            yield peer, slot, channel


@dataclass
class Reader:
    """Reads blocks of a program for one member of a group, and notes what the program needs."""

    rank: int
    members: int
    slots: int
    semaphores: int
    scratch_bytes: int
    itemsize: int
    barriers: int = 0
    input_bytes: int = 0
    """How far it reaches into this rank's own input, and output."""
    output_bytes: int = 0
    signals: dict[tuple[Opcode, int, int], int] = field(default_factory=dict)
    """Signals (waits) of each channel end in a launch: opcode, peer, slot."""
    block: int = 0

    def read(self, block: int, words: Sequence[int]) -> tuple[Step, ...]:
        """The instructions of a block; `PlanError` where the words are none for this member."""
        self.block = block
        return tuple(self._sequence(words, None, 1))

    def _fail(self, problem: str) -> PlanError:
        return PlanError(f"the words of block {self.block} of rank {self.rank} are no program: {problem}")

    def _within(self, what: str, value: int, low: int, high: int) -> int:
        if not low <= value <= high:
            raise self._fail(f"{what} is {value}, allowed are {low} to {high}")
        return value

    def _sequence(self, words: Sequence[int], loop: tuple[int, int] | None, times: int) -> Iterator[Step]:
        at = 0
        while at < len(words):
            if len(words) - at < 3:
                raise self._fail("it ends inside an instruction")
            try:
                opcode = Opcode(words[at])
            except ValueError:
                raise self._fail(f"{words[at]} is no opcode") from None
            end = at + 2 + self._within("the number of words", words[at + 1], 1, len(words) - at - 2)
            position = self._within("a position", words[at + 2], 0, (1 << 31) - 1)
            own = tuple(int(word) for word in words[at + 3 : end])
            at = end
            if opcode is not Opcode.LOOP:
                self._check(opcode, own, loop, times)
                yield Step(opcode, position, own)
                continue
            if loop is not None:
                raise self._fail("a loop lies inside a loop")
            if len(own) != 4:
                raise self._fail("a loop has the wrong number of words")
            unit, slots, pieces, length = own
            self._within("the unit of a loop", unit, 1, _BIGGEST)
            self._within("the slots of a loop", slots, 1, 1 << 31)
            self._within("the pieces of a loop", pieces, 0, min((1 << 31) - 1, _BIGGEST // unit))
            self._within("the length of a loop", length, 0, len(words) - at)
            body = tuple(self._sequence(words[at : at + length], (unit, slots), times * pieces))
            yield Step(opcode, position, own, body)
            at += length

    def _check(self, opcode: Opcode, words: tuple[int, ...], loop: tuple[int, int] | None, times: int) -> None:
        match opcode:
            case Opcode.MOVE:
                self._move(words, loop)
            case Opcode.SIGNAL | Opcode.WAIT:
                if len(words) < 2 or len(words) != 2 + 3 * words[1]:
                    raise self._fail("a signal or wait has the wrong number of words")
                self._within("the common counter", words[0], 0, 1)
                for peer, slot, channel in Step(opcode, 0, words).ends():
                    self._within("a channel", channel, 0, (1 << 31) - 1)
                    self._within("a peer", peer, 0, self.members - 1)
                    self._within("a channel slot", slot, 0, self.slots - 1)
                    key = opcode, peer, slot
                    self.signals[key] = self.signals.get(key, 0) + times
                    self._within("the number of signals on one channel", self.signals[key], 0, MOST_SIGNALS)
            case Opcode.BARRIER:
                self._count(words, 2)
                self._within("a barrier", words[0], 0, MOST_BARRIERS - 1)
                self._within("the blocks of a barrier", words[1], 1, 1 << 20)
                self.barriers = max(self.barriers, words[0] + 1)
            case Opcode.ACQUIRE | Opcode.RELEASE:
                self._count(words, 1)
                self._within("a semaphore", words[0], 0, self.semaphores - 1)
            case _:
                self._count(words, 0)

    def _count(self, words: tuple[int, ...], count: int) -> None:
        if len(words) != count:
            raise self._fail(f"an instruction has {len(words)} words after its position, not {count}")

    def _move(self, words: tuple[int, ...], loop: tuple[int, int] | None) -> None:
        if len(words) < 5 or len(words) != 5 + 4 * (words[3] + words[4]):
            raise self._fail("a move has the wrong number of words")
        op, divisor, nbytes, sources, targets = words[:5]
        self._within("an operation", op, 0, 7)
        self._within("a divisor", divisor, 1, (1 << 31) - 1)
        self._within("the length of a move", nbytes, 0, _BIGGEST)
        self._within("the number of sources", sources, 1, 1 << 16)
        self._within("the number of destinations", targets, 1, 1 << 16)
        unit, slots = (nbytes, 1) if loop is None else (min(nbytes, loop[0]), loop[1])
        reach = min(nbytes, unit * slots)
        if (sources > 1 or divisor > 1) and (nbytes % self.itemsize or (unit < nbytes and unit % self.itemsize)):
            raise self._fail("a reduction of a part of an element")
        for i in range(sources + targets):
            self._operand(words[5 + 4 * i : 9 + 4 * i], nbytes, unit, reach)

    def _operand(self, words: tuple[int, ...], nbytes: int, unit: int, reach: int) -> None:
        member, buffer, offset, packet = words
        self._within("a member", member, 0, self.members - 1)
        self._within("a buffer", buffer, 0, _SCRATCH)
        self._within("an offset", offset, 0, _BIGGEST - nbytes)
        self._within("the form of an operand", packet, 0, 1)
        if packet and (buffer != _SCRATCH or offset % _PACKET_BYTES or (unit < reach and unit % 4)):
            raise self._fail("packets lie in scratch alone, at multiples of their size")
        if buffer == _SCRATCH:
            need = -(-reach // 4) * _PACKET_BYTES if packet else reach
            if offset + need > self.scratch_bytes:
                raise self._fail(f"{need} bytes of scratch at {offset} exceed the {self.scratch_bytes} of a launch")
        elif member == self.rank and nbytes:
            if buffer == 0:
                self.input_bytes = max(self.input_bytes, offset + nbytes)
            else:
                self.output_bytes = max(self.output_bytes, offset + nbytes)
