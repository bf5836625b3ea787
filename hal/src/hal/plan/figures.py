"""What a plan costs, in figures that hold for every size: steps, traffic, scratch."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from hal.interface.errors import PlanError
from hal.plan.ends import other_ends
from hal.plan.lower import spans, walk
from hal.plan.model import (
    Acquire,
    Barrier,
    BufferKind,
    Instruction,
    Loop,
    Move,
    Plan,
    Post,
    Release,
    Signal,
    Span,
    Wait,
)


@dataclass(frozen=True)
class Figures:
    """The cost of a plan. A message is the larger of input and output, as nccl-tests counts."""

    steps: int
    """The messages that follow one upon the other, from a rank to another, until all ranks are done. In loops: of one
    piece, the credits for free slots among them."""
    moved: Fraction
    """Messages that come in or go out at the busiest rank, whichever is more."""
    scratch: Fraction
    """Messages that scratch holds on the rank that uses most of it; 0 where its size is fixed."""
    scratch_bytes: int
    """Bytes of scratch on that rank where its size is fixed; else 0."""


def figures(plan: Plan) -> Figures:
    """The figures of a valid plan; `PlanError` where it deadlocks."""
    message = max((max(r.input_chunks, r.output_chunks) for r in plan.ranks), default=0)
    chunks = max((r.scratch_chunks for r in plan.ranks), default=0)
    if any(span.packet for span in spans(plan)):
        chunks *= 2
    fixed = plan.scratch_chunk_bytes
    return Figures(
        _steps(plan),
        _busiest(plan) / message if message else Fraction(0),
        Fraction(chunks, message) if message and fixed is None else Fraction(0),
        chunks * (fixed or 0),
    )


def _busiest(plan: Plan) -> Fraction:
    """Chunks that come in or go out at the rank where most do."""
    come: defaultdict[int, Fraction] = defaultdict(Fraction)
    go: defaultdict[int, Fraction] = defaultdict(Fraction)
    for number, rank in enumerate(plan.ranks):
        for operation in (i for block in rank.blocks for i in walk(block) if isinstance(i, Move | Post)):
            operands = _operands(operation)
            sizes = [s.size for s in operands if s.buffer is not BufferKind.SCRATCH] or [operands[0].size]
            amount = Fraction(sizes[0], operation.parts)
            sources, targets = (operation.src, operation.dst) if isinstance(operation, Move) else ((), ())
            if isinstance(operation, Post):
                go[number] += amount
                come[rank.channels[operation.channel].peer] += amount
            # a switch takes once what it hands to all, and hands out once what it takes of all
            for span in sources:
                far = _far(plan, number, span)
                come[number] += amount if far else 0
                for owner in far:
                    go[owner] += amount
            for span in targets:
                far = _far(plan, number, span)
                go[number] += amount if far else 0
                for owner in far:
                    come[owner] += amount
    return max([*come.values(), *go.values()], default=Fraction(0))


def _operands(operation: Move | Post) -> tuple[Span, ...]:
    return (*operation.dst, *operation.src) if isinstance(operation, Move) else (operation.dst, operation.src)


def _far(plan: Plan, rank: int, span: Span) -> list[int]:
    """The other ranks in whose memory an operand lies."""
    if span.switch is not None:
        return [member for member in plan.ranks[rank].channels[span.switch].peers if member != rank]
    return [] if span.peer is None else [span.peer]


Key = tuple[object, ...]


class _Depths:
    """One launch, each loop of one piece, counting for each block the messages that led to where it stands."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.sent: defaultdict[Key, list[int]] = defaultdict(list)
        self.taken: defaultdict[Key, int] = defaultdict(int)
        self.others = other_ends(plan)
        self.met: dict[tuple[int, int, int], int] = {}
        self.packets: dict[tuple[int, int], tuple[int, int]] = {}

    def steps(self) -> int:
        blocks = {(r, b): _once(block) for r, rank in enumerate(self.plan.ranks) for b, block in enumerate(rank.blocks)}
        running = deque((place, list(body), 0, 0) for place, body in blocks.items())
        deepest = idle = 0
        while running:
            (rank, block), body, at, depth = running.popleft()
            began = at
            while at < len(body):
                found = self.after(rank, block, at, body[at], depth)
                if found is None:
                    break
                at, depth = at + 1, found
            deepest = max(deepest, depth)
            if at < len(body):
                running.append(((rank, block), body, at, depth))
                idle = 0 if at > began else idle + 1
                if idle > len(running):
                    raise PlanError(f"plan {self.plan.name!r} is in deadlock")
            else:
                idle = 0
        return deepest

    def after(self, rank: int, block: int, at: int, instruction: Instruction, depth: int) -> int | None:
        """The depth after an instruction; None where it has to wait."""
        match instruction:
            case Signal(channels=channels):
                for channel in channels:
                    self.sent[self.others[rank, channel]].append(depth + 1)
            case Post(channel=channel, dst=dst):
                if instruction.signal:
                    self.sent[self.others[rank, channel]].append(depth + 1)
                if dst.packet:
                    self.store(rank, [self.plan.ranks[rank].channels[channel].peer], dst, depth)
            case Release(semaphore=semaphore):
                self.sent["semaphore", rank, semaphore].append(depth)
            case Wait(channels=channels):
                return self.take([(rank, channel) for channel in channels], depth)
            case Acquire(semaphore=semaphore):
                key = "semaphore", rank, semaphore
                free = self.plan.ranks[rank].semaphores[semaphore]
                if self.taken[key] < free:
                    self.taken[key] += 1
                    return depth
                return self.take([key], depth, free)
            case Barrier(id=number, blocks=blocks):
                key = "barrier", rank, number
                arrivals = self.sent[key]
                if (rank, block, at) not in self.met:
                    self.met[rank, block, at] = len(arrivals) // blocks * blocks
                    arrivals.append(depth)
                first = self.met[rank, block, at]
                return max(arrivals[first : first + blocks]) if len(arrivals) >= first + blocks else None
            case Move():
                return self.move(rank, instruction, depth)
            case _:
                pass
        return depth

    def take(self, keys: list[Key], depth: int, free: int = 0) -> int | None:
        wanted = {key: self.taken[key] + keys.count(key) for key in keys}
        if any(len(self.sent[key]) < n - free for key, n in wanted.items()):
            return None
        self.taken.update(wanted)
        return max([depth, *(self.sent[key][n - free - 1] for key, n in wanted.items())])

    def move(self, rank: int, move: Move, depth: int) -> int | None:
        """Packets carry the depth of their writer with them."""
        for span in (s for s in move.src if s.packet):
            for owner in _far(self.plan, rank, span) or [rank]:
                for chunk in range(span.index, span.index + span.size):
                    if (owner, chunk) not in self.packets:
                        return None
                    writer, deep = self.packets[owner, chunk]
                    depth = max(depth, deep + (writer != rank))
        for span in (s for s in move.dst if s.packet):
            self.store(rank, [*_far(self.plan, rank, span), *([rank] if span.peer is None else [])], span, depth)
        return depth

    def store(self, rank: int, owners: list[int], span: Span, depth: int) -> None:
        for owner in owners:
            for chunk in range(span.index, span.index + span.size):
                self.packets[owner, chunk] = rank, depth


def _steps(plan: Plan) -> int:
    return _Depths(plan).steps()


def _once(block: Iterable[Instruction]) -> Iterator[Instruction]:
    for instruction in block:
        if isinstance(instruction, Loop):
            yield from instruction.body
        else:
            yield instruction
