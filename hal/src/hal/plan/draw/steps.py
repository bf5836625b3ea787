"""Who sends what to whom, by step.

A step is a place in the longest chain of transfers that lead to each other: a transfer comes one step after the latest
of those that its sources hold, or that it has waited for by signals, packets, barriers and semaphores. Transfers that
nothing orders share a step, also where one block makes them one after the other. A move that reads from some ranks
and stores to others makes two.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hal.interface.errors import PlanError
from hal.plan.draw.written import Place, Written, range_of
from hal.plan.ends import other_ends
from hal.plan.layout import Layout
from hal.plan.lower import loop_pieces
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
from hal.plan.text import Path, describe
from hal.plan.validate import validate

_SHORT = {BufferKind.INPUT: "in", BufferKind.OUTPUT: "out", BufferKind.SCRATCH: "scr"}


@dataclass(frozen=True, slots=True)
class Arrow:
    """One transfer from rank `src` to rank `dst` in step `step`, counted from 1."""

    step: int
    src: int
    dst: int
    chunks: str
    """What is sent: chunks of input or output where the instruction names any, else of scratch."""
    text: str
    """The instruction, as `hal.plan.describe` writes it."""
    rank: int
    """Who executes it: `src` of a put, `dst` of a get."""
    block: int
    path: Path
    nbytes: int | None = None
    """Bytes, where the size of the call is given; in a loop of all its pieces."""


@dataclass(frozen=True, slots=True)
class Work:
    """A move within rank `rank`, of data that the transfers of step `step` brought; 0 before them."""

    step: int
    rank: int
    text: str
    block: int
    path: Path


@dataclass(frozen=True, slots=True)
class Diagram:
    """The transfers and local moves of a plan, ordered by step and rank; of a loop those of one piece."""

    plan: Plan
    steps: int
    arrows: Sequence[Arrow] = field(repr=False)
    work: Sequence[Work] = field(repr=False)
    signals: bool
    """Whether the arrows are signals, because the plan moves nothing between ranks."""
    pieces: dict[int, int | None]
    """By the unit of the plan's loops, how many pieces they run; None where the size of the call is not given."""


MOST_RANKS = 4096
MOST_CHUNKS = 1 << 19
"""Of all buffers of all ranks together."""


def steps_of(plan: Plan, layout: Layout | None = None) -> Diagram:
    """The diagram of a plan, for a call of this layout where one is given.

    Arrows are the operands of moves that lie in other ranks' memory, one for each other member where it is the memory
    of a switch group, and posts. Where a plan has none, signals take their place. `PlanError` for a plan that is
    malformed, that does not come to its end, or that is too large to be looked at.
    """
    validate(plan)
    chunks = sum(rank.input_chunks + rank.output_chunks + rank.scratch_chunks for rank in plan.ranks)
    for what, found, most in (("ranks", plan.size, MOST_RANKS), ("chunks", chunks, MOST_CHUNKS)):
        if found > most:
            raise PlanError(f"plan {plan.name!r} has {found} {what}, and no more than {most} can be drawn")
    walk = _Walk(plan, layout, signals=False)
    walk.run()
    if not walk.arrows:
        walk = _Walk(plan, layout, signals=True)
        walk.run()
    arrows = sorted(walk.arrows, key=lambda a: (a.step, a.src, a.dst, a.block, a.path))
    work = sorted(walk.work, key=lambda w: (w.step, w.rank, w.block, w.path))
    units = {i.unit for rank in plan.ranks for block in rank.blocks for i in block if isinstance(i, Loop)}
    pieces: dict[int, int | None] = dict.fromkeys(sorted(units))
    if layout is not None:
        pieces |= loop_pieces(plan, layout)
    last = max((a.step for a in arrows), default=0)
    return Diagram(plan, last, arrows, work, walk.signals and bool(arrows), pieces)


class _Block:
    """One block on its way: where it stands, and the steps of what it has waited for and of what it has done."""

    def __init__(self, rank: int, number: int, block: Sequence[Instruction]) -> None:
        self.rank = rank
        self.number = number
        self.code: list[tuple[Path, Instruction]] = []
        for at, instruction in enumerate(block):
            if isinstance(instruction, Loop):
                self.code += [((at, inner), each) for inner, each in enumerate(instruction.body)]
            else:
                self.code.append(((at,), instruction))
        self.at = 0
        self.waited = 0
        self.done = 0
        self.arrived = False
        self.received = 0  # channels of the wait it stands at whose signal it has taken

    @property
    def reached(self) -> int:
        return max(self.waited, self.done)


class _Walk:
    """All blocks in turn, each as far as it gets; memory holds steps in place of data."""

    def __init__(self, plan: Plan, layout: Layout | None, *, signals: bool) -> None:
        self.plan = plan
        self.layout = layout
        self.signals = signals
        self.arrows: list[Arrow] = []
        self.work: list[Work] = []
        self.blocks = [_Block(r, b, code) for r, rank in enumerate(plan.ranks) for b, code in enumerate(rank.blocks)]
        self.written = Written()
        self.packets = Written()
        self.ends = other_ends(plan)
        self.signalled: dict[tuple[int, int], deque[int]] = defaultdict(deque)  # by receiving rank and its channel
        self.semaphores = {
            (r, s): deque([0] * count) for r, rank in enumerate(plan.ranks) for s, count in enumerate(rank.semaphores)
        }
        self.meetings: dict[tuple[int, int], list[_Block]] = defaultdict(list)

    def run(self) -> None:
        running = list(self.blocks)
        while running:
            progress = False
            for block in running:
                while block.at < len(block.code) and self.step(block, *block.code[block.at]):
                    block.at += 1
                    progress = True
            running = [block for block in running if block.at < len(block.code)]
            if running and not progress:
                raise PlanError(
                    f"plan {self.plan.name!r} does not come to its end, so that it has no picture: "
                    "`hal plan verify` says where it stands"
                )

    def step(self, block: _Block, path: Path, instruction: Instruction) -> bool:
        """Do one instruction; False where it has to wait."""
        match instruction:
            case Move():
                return self.move(block, path, instruction)
            case Post():
                peer = self.plan.ranks[block.rank].channels[instruction.channel].peer
                self.transfer(block, path, instruction, [(block.rank, instruction.src)], [(peer, instruction.dst)])
                if instruction.signal:
                    self.signal(block, path, instruction, instruction.channel)
            case Signal():
                for channel in instruction.channels:
                    self.signal(block, path, instruction, channel)
            case Wait():
                return self.wait(block, instruction)
            case Barrier():
                return self.barrier(block, instruction)
            case Release():
                self.semaphores[block.rank, instruction.semaphore].append(block.reached)
            case Acquire():
                waiting = self.semaphores[block.rank, instruction.semaphore]
                if not waiting:
                    return False
                block.waited = max(block.waited, waiting.popleft())
        return True

    def signal(self, block: _Block, path: Path, instruction: Instruction, channel: int) -> None:
        rank = self.plan.ranks[block.rank]
        step = block.reached
        if self.signals:
            step = block.reached + 1
            text = describe(instruction, rank.channels)
            peer = rank.channels[channel].peer
            self.arrows.append(Arrow(step, block.rank, peer, "", text, block.rank, block.number, path))
        self.signalled[self.ends[block.rank, channel]].append(step)

    def wait(self, block: _Block, instruction: Wait) -> bool:
        for channel in instruction.channels[block.received :]:
            arrived = self.signalled[block.rank, channel]
            if not arrived:
                return False
            block.waited = max(block.waited, arrived.popleft())
            block.received += 1
        block.received = 0
        return True

    def barrier(self, block: _Block, instruction: Barrier) -> bool:
        if block.arrived:  # who came last let it go
            block.arrived = False
            return True
        meeting = self.meetings[block.rank, instruction.id]
        if block in meeting:
            return False
        meeting.append(block)
        if len(meeting) < instruction.blocks:
            return False
        reached = max(each.reached for each in meeting)
        for each in meeting:
            each.waited = reached
            each.arrived = each is not block
        meeting.clear()
        return True

    def move(self, block: _Block, path: Path, move: Move) -> bool:
        sources = [(member, span) for span in move.src for member in self.members(block.rank, span)]
        targets = [(member, span) for span in move.dst for member in self.members(block.rank, span)]
        for member, span in sources:
            where = range_of(span, move.part, move.parts)
            if span.packet and not self.packets.covers((member, span.buffer), where):
                return False
        self.transfer(block, path, move, sources, targets)
        return True

    def members(self, rank: int, span: Span) -> tuple[int, ...]:
        if span.switch is not None:
            return self.plan.ranks[rank].channels[span.switch].peers
        return (rank if span.peer is None else span.peer,)

    def transfer(
        self,
        block: _Block,
        path: Path,
        instruction: Move | Post,
        sources: list[tuple[int, Span]],
        targets: list[tuple[int, Span]],
    ) -> None:
        rank, part, parts = block.rank, instruction.part, instruction.parts
        step = block.waited
        for member, span in sources:
            held = self.packets if span.packet else self.written
            step = max(step, held.step((member, span.buffer), range_of(span, part, parts)))
            if span.packet:
                block.waited = max(block.waited, step)
        coming = [member for member, _ in sources if member != rank]
        going = [member for member, _ in targets if member != rank]
        text = describe(instruction, self.plan.ranks[rank].channels)
        if not coming and not going:
            self.work.append(Work(step, rank, text, block.number, path))
        # what is read from some ranks and stored to others takes two steps, one after the other
        hop = 0 if self.signals else 1
        here = step + (hop if coming else 0)
        there = here + (hop if going else 0)
        if not self.signals:
            chunks, nbytes = self.label([*sources, *targets], part, parts)
            about = (chunks, text, rank, block.number, path, nbytes)
            self.arrows += [Arrow(here, member, rank, *about) for member in coming]
            self.arrows += [Arrow(there, rank, member, *about) for member in going]
        for member, span in targets:
            place: Place = (member, span.buffer)
            reached = here if member == rank else there
            (self.packets if span.packet else self.written).write(place, range_of(span, part, parts), reached)
        block.done = max(block.done, there)

    def label(self, operands: list[tuple[int, Span]], part: int, parts: int) -> tuple[str, int | None]:
        """The chunks that a transfer carries, and their bytes."""
        data = [o for o in operands if o[1].buffer is not BufferKind.SCRATCH]
        member, span = (data or operands)[0]
        last = span.index + span.size - 1
        chunks = f"{span.index}" if span.size == 1 else f"{span.index}–{last}"
        nbytes = None
        if self.layout is not None:
            whole = self.layout.extent(member, span)[1] if data else span.size * self.layout.longest
            nbytes = self.layout.part(whole, part, parts, self.plan.align)[1]
        return f"{_SHORT[span.buffer]} {chunks}", nbytes
