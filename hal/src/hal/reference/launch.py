"""The state of one launch, and what each instruction does to it."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from hal.interface.dtypes import DType, ReduceOp
from hal.plan.ends import End
from hal.plan.model import (
    Acquire,
    Barrier,
    ChannelKind,
    Flush,
    Instruction,
    Loop,
    Move,
    Plan,
    Post,
    Release,
    Signal,
    Sync,
    Wait,
)
from hal.plan.text import Path, describe, path_text
from hal.reference.arithmetic import combine
from hal.reference.deadlock import Stall
from hal.reference.memory import PACKET_DATA, Bytes, Memory, Place
from hal.reference.operands import Operands, Transfer, Window
from hal.reference.task import ANY_TIME, Pause, Steps


@dataclass(frozen=True)
class Call:
    """What all launches of one run share."""

    plan: Plan
    operands: Operands
    memory: Memory
    dtype: DType
    op: ReduceOp
    max_pieces: int
    """In how many random pieces, at most, a move or a post is carried out."""
    chance: random.Random
    others: dict[End, End]
    """For each end of a memory or port channel the other one."""

    def cuts(self, length: int) -> list[tuple[int, int]]:
        """Cut bytes into pieces, (first, length) each, that tear no element and no packet."""
        quantum = math.lcm(self.dtype.itemsize, PACKET_DATA)
        inner = range(quantum, length, quantum)
        bounds = sorted(self.chance.sample(inner, min(len(inner), self.chance.randrange(self.max_pieces))))
        return [(a, b - a) for a, b in zip([0, *bounds], [*bounds, length], strict=True)]


@dataclass
class Port:
    """What was posted on a port channel and is still to be delivered: transfers, and None for a signal."""

    pending: deque[Transfer | None] = field(default_factory=deque)
    posted: int = 0
    delivered: int = 0

    def post(self, item: Transfer | None) -> None:
        """Add to the end."""
        self.pending.append(item)
        self.posted += 1


@dataclass(frozen=True)
class Here:
    """An instruction in the course of being run."""

    rank: int
    block: int
    path: Path
    instruction: Instruction
    window: Window | None

    @property
    def at(self) -> str:
        """Its place in words."""
        return f"rank {self.rank}, block {self.block}, instruction {path_text(self.path)}"


class Launch:
    """One launch: signals, semaphores and barriers begin afresh. `number` counts from 1."""

    def __init__(self, call: Call, number: int) -> None:
        self.call = call
        self.number = number
        self.signals: Counter[End] = Counter()
        """Signals that each end has received, and waits that have begun there."""
        self.waits: Counter[End] = Counter()
        self.semaphores = [list(rank.semaphores) for rank in call.plan.ranks]
        self.arrivals: Counter[tuple[int, int]] = Counter()
        self.ports: defaultdict[End, Port] = defaultdict(Port)

    def block(self, rank: int, number: int) -> Steps:
        """Run one block."""
        for index, instruction in enumerate(self.call.plan.ranks[rank].blocks[number]):
            if isinstance(instruction, Loop):
                for piece in range(self.call.operands.pieces[instruction.unit]):
                    for inner, each in enumerate(instruction.body):
                        here = Here(rank, number, (index, inner), each, Window(instruction, piece))
                        yield from self._steps(here, each)
            else:
                yield from self._steps(Here(rank, number, (index,), instruction, None), instruction)

    def deliver(self, end: End) -> Steps:
        """Deliver what is posted on a port channel, in order, for as long as the launch lasts."""
        port = self.ports[end]
        while True:
            yield Pause(lambda: bool(port.pending))
            item = port.pending[0]
            if item is None:
                self.signals[self.call.others[end]] += 1
            else:
                for first, length in self.call.cuts(item.length):
                    self._write(item, first, self._read(item, first, length))
                    yield ANY_TIME
            port.pending.popleft()
            port.delivered += 1

    def delivered(self, rank: int) -> bool:
        """Whether all that `rank` has posted is delivered."""
        return not any(port.pending for (owner, _), port in self.ports.items() if owner == rank)

    def _steps(self, here: Here, instruction: Instruction) -> Steps:
        match instruction:
            case Move():
                yield from self._move(here, instruction)
            case Post():
                transfer = self.call.operands.transfer(here.rank, instruction, here.window, here.at)
                yield self._arrival(here, transfer, 0, transfer.length)
                port = self.ports[here.rank, instruction.channel]
                port.post(transfer)
                if instruction.signal:
                    port.post(None)
                if instruction.flush:
                    yield self._flushed(here, instruction.channel)
            case Signal(channels=channels):
                yield ANY_TIME
                for channel in channels:
                    self._signal(here.rank, channel)
            case Wait(channels=channels):
                yield from self._wait(here, channels)
            case Flush(channel=channel):
                yield self._flushed(here, channel)
            case Sync():
                yield ANY_TIME
            case Barrier():
                yield from self._barrier(here, instruction)
            case Acquire(semaphore=semaphore):
                left = self.semaphores[here.rank]
                missing = self._stall(here, f"semaphore {semaphore}", 1, 0)
                yield Pause(lambda: left[semaphore] > 0, lambda: [missing])
                left[semaphore] -= 1
            case Release(semaphore=semaphore):
                yield ANY_TIME
                self.semaphores[here.rank][semaphore] += 1
            case Loop():
                raise AssertionError("a valid plan has no loop inside a loop")

    def _move(self, here: Here, move: Move) -> Steps:
        transfer = self.call.operands.transfer(here.rank, move, here.window, here.at)
        op = self.call.op if move.op is None else move.op
        divisor = self.call.plan.size if op is ReduceOp.AVG and move.final else 1
        dtype = self.call.dtype
        for first, length in self.call.cuts(transfer.length):
            yield self._arrival(here, transfer, first, length)
            sources = [self._data(source, first, length).view(dtype.numpy) for source in transfer.sources]
            result = combine(sources, dtype, op, divisor)
            # others may run between the reading and the writing, as they may in truth
            yield ANY_TIME
            self._write(transfer, first, result.view("uint8"))

    def _arrival(self, here: Here, transfer: Transfer, first: int, length: int) -> Pause:
        """Until all packets among the sources are there."""
        packets = [source for source in transfer.sources if source.packet]

        def missing() -> Iterator[Stall]:
            for source in packets:
                wanted, seen = self.call.memory.arrived(source, self.number, first, length)
                if seen < wanted:
                    yield self._stall(here, f"packets in scratch of rank {source.rank}", wanted, seen)

        def all_there() -> bool:
            # asked at every turn of any task: it words no stall
            arrived = (self.call.memory.arrived(source, self.number, first, length) for source in packets)
            return all(seen >= wanted for wanted, seen in arrived)

        return Pause(all_there, lambda: list(missing())) if packets else ANY_TIME

    def _wait(self, here: Here, channels: tuple[int, ...]) -> Steps:
        wanted: dict[int, int] = {}
        for channel in channels:
            self.waits[here.rank, channel] += 1
            wanted[channel] = self.waits[here.rank, channel]

        def missing() -> Iterator[Stall]:
            for channel, expected in wanted.items():
                seen = self.signals[here.rank, channel]
                if seen < expected:
                    peer = self.call.others[here.rank, channel][0]
                    why = f"signals of rank {peer} on channel {channel}"
                    yield self._stall(here, why, expected, seen, channel, peer)

        def all_there() -> bool:
            # asked at every turn of any task: it words no stall
            return all(self.signals[here.rank, channel] >= expected for channel, expected in wanted.items())

        yield Pause(all_there, lambda: list(missing()))

    def _signal(self, rank: int, channel: int) -> None:
        if self.call.plan.ranks[rank].channels[channel].kind is ChannelKind.PORT:
            # it follows what was posted before it
            self.ports[rank, channel].post(None)
        else:
            self.signals[self.call.others[rank, channel]] += 1

    def _flushed(self, here: Here, channel: int) -> Pause:
        """Until all that is posted on the channel by now is delivered."""
        port = self.ports[here.rank, channel]
        posted = port.posted
        peer = self.call.others[here.rank, channel][0]

        def missing() -> list[Stall]:
            return [self._stall(here, "the delivery of posts", posted, port.delivered, channel, peer)]

        return Pause(lambda: port.delivered >= posted, missing)

    def _barrier(self, here: Here, barrier: Barrier) -> Steps:
        yield ANY_TIME
        key = (here.rank, barrier.id)
        before = self.arrivals[key]
        full = (before // barrier.blocks + 1) * barrier.blocks
        self.arrivals[key] += 1

        def missing() -> list[Stall]:
            seen = self.arrivals[key] - (full - barrier.blocks)
            return [self._stall(here, f"blocks at barrier {barrier.id}", barrier.blocks, seen)]

        yield Pause(lambda: self.arrivals[key] >= full, missing)

    def _data(self, place: Place, first: int, length: int) -> Bytes:
        return self.call.memory.read(place, self.number, first, length)

    def _read(self, transfer: Transfer, first: int, length: int) -> Bytes:
        (source,) = transfer.sources
        return self._data(source, first, length).copy()

    def _write(self, transfer: Transfer, first: int, data: Bytes) -> None:
        for target in transfer.targets:
            self.call.memory.write(target, self.number, first, data)

    def _stall(
        self, here: Here, what: str, expected: int, seen: int, channel: int | None = None, peer: int | None = None
    ) -> Stall:
        text = describe(here.instruction, self.call.plan.ranks[here.rank].channels)
        return Stall(here.rank, here.block, self.number, here.path, text, what, expected, seen, channel, peer)
