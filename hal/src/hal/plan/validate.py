"""Structural validation: that everything a plan names exists, and that its parts fit together.

What is checked here follows from the plan alone and is found by reading it once. Whether the plan is right (no
deadlock, no race, the right result) is another question.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hal.interface.errors import PlanError, UsageError
from hal.plan.balance import listed, unbalanced_barriers, unbalanced_channels
from hal.plan.collective import Collective
from hal.plan.findings import Code, Finding, Where
from hal.plan.memo import once_per_plan
from hal.plan.model import (
    Acquire,
    Barrier,
    BufferKind,
    Channel,
    ChannelKind,
    Flush,
    Instruction,
    Loop,
    Move,
    Plan,
    Post,
    RankPlan,
    Release,
    Signal,
    Span,
    Wait,
)
from hal.plan.overlap import overlaps
from hal.plan.text import Path, describe, numbered, path_text, span_text

MOST_RANKS = 1 << 16
MOST_BLOCKS = 1 << 16
"""Of one rank; as many semaphores are allowed."""
MOST_CHUNKS = 1 << 20
"""Of one buffer, and pieces of a count."""
MOST_CHUNK_COUNTS = 1 << 22
"""Chunks of all inputs and outputs, those of equal number counted once: as many extents has a layout."""
MOST_OPERANDS = 4096
MOST_SLOTS = 1 << 16
MOST_BYTES = 1 << 40
LARGEST_ALIGN = 1 << 20
LARGEST_BARRIER = 1023
LARGEST_SEMAPHORE = (1 << 31) - 1
LOOP_UNIT = 64
"""Loop units are multiples of this, so that no piece ends inside an element or a packet."""
PACKET_BYTES = 8
"""Data in a packet and its flag: scratch chunks begin at multiples of it."""
MOST_PROBLEMS = 10


def validate(plan: Plan) -> None:
    """Raise `PlanError` where the plan is malformed. Its message lists up to ten problems and where each of them is."""
    texts = [problem.text for problem in _problems(plan)]
    if not texts:
        return
    label = f"plan {plan.name[:60]!r}"
    if len(texts) == 1:
        raise PlanError(f"{label}: {texts[0]}")
    count = f"{len(texts)} or more" if len(texts) == MOST_PROBLEMS else str(len(texts))
    raise PlanError("\n  ".join([f"{label} has {count} problems:", *texts]))


def malformations(plan: Plan) -> list[Finding]:
    """Up to ten problems for which `validate` refuses a plan; none for one that is well-formed."""
    return [problem.finding for problem in _problems(plan)]


@once_per_plan
def _problems(plan: Plan) -> tuple[_Problem, ...]:
    check = _Check(plan)
    with contextlib.suppress(_Enough):
        # each stage relies on what those before it have found to be in order
        for stage in (check.header, check.ranks, check.channels, check.blocks, check.balance):
            stage()
            if check.problems:
                break
    return tuple(check.problems)


@dataclass(frozen=True)
class _Problem:
    """A problem as a line of text that says where it is, and as a finding."""

    text: str
    finding: Finding


class _Enough(Exception):  # noqa: N818 -- ends the search, is no error
    """As many problems as a message lists were found."""


class _Check:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.problems: list[_Problem] = []
        # the place that `say` names
        self.rank = 0
        self.at = ""
        self.reading: tuple[int, Path, Instruction] | None = None
        """The instruction that `say` names instead: its block and path in the rank, and itself."""
        self.smallest: dict[int, dict[BufferKind, int]] = {}

    def say(self, problem: str, code: Code = Code.MALFORMED) -> None:
        if self.reading is None:
            text = f"{self.at}{problem}"
            finding = Finding(code, text)
        else:
            number, path, instruction = self.reading
            text = f"rank {self.rank}, block {number}, instruction {path_text(path)}: {problem}"
            finding = Finding(code, problem, (Where(self.rank, number, path, "", instruction.source),))
        self.problems.append(_Problem(text, finding))
        if len(self.problems) == MOST_PROBLEMS:
            raise _Enough

    def within(self, what: str, value: int, low: int, high: int) -> bool:
        if low <= value <= high:
            return True
        self.say(
            f"{what} is {value}, allowed are {low} to {high}" if low <= high else f"{what} is {value}: none exists"
        )
        return False

    @property
    def own(self) -> RankPlan:
        return self.plan.ranks[self.rank]

    # -- the plan and its ranks

    def header(self) -> None:
        plan = self.plan
        if not plan.name or len(plan.name) > 200 or not plan.name.isprintable():
            self.say("the name is not a printable text of 1 to 200 characters")
        if not plan.description.replace("\n", "").isprintable():
            self.say("the description is not printable text")
        if not self.within("the number of ranks", plan.size, 1, MOST_RANKS):
            return
        self.within("split", plan.split, 1, MOST_CHUNKS)
        if not 1 <= plan.align <= LARGEST_ALIGN or plan.align & (plan.align - 1):
            self.say(f"align is {plan.align}, allowed are powers of two up to {LARGEST_ALIGN}")
        if plan.aliased and not plan.in_place:
            self.say("aliased says that input and output share memory, in_place that they must not")
        if plan.even and plan.align % PACKET_BYTES:
            self.say(f"align is {plan.align}, allowed are multiples of {PACKET_BYTES} where chunks are even")
        if plan.scratch_chunk_bytes is not None:
            self.within("scratch_chunk_bytes", plan.scratch_chunk_bytes, 1, MOST_BYTES)
        try:
            collective = Collective.of(plan.collective)
        except UsageError as error:
            self.say(error.message)
            return
        if collective.rooted and plan.root is None:
            self.say(f"{plan.collective} needs a root of 0 to {plan.size - 1}")
        elif plan.root is not None and not collective.rooted and collective is not Collective.CUSTOM:
            self.say(f"{plan.collective} has no root, but root is {plan.root}")
        elif plan.root is not None:
            self.within("root", plan.root, 0, plan.size - 1)

    def ranks(self) -> None:
        plan = self.plan
        collective = Collective.of(plan.collective)
        for number, rank in enumerate(plan.ranks):
            self.rank = number
            self.at = f"rank {self.rank}: "
            if collective is not Collective.CUSTOM:
                blocks = collective.blocks(plan.size, self.rank, plan.root)
                found = (rank.input_chunks, rank.output_chunks)
                for name, chunks, count in zip(("input", "output"), found, blocks, strict=True):
                    if chunks != count * plan.split:
                        wanted = f"{count * plan.split} ({count} times the split of {plan.split})"
                        self.say(f"{name}_chunks is {chunks}, but {plan.collective} has {wanted}")
            self.within("input_chunks", rank.input_chunks, 0, MOST_CHUNKS)
            self.within("output_chunks", rank.output_chunks, 0, MOST_CHUNKS)
            self.within("scratch_chunks", rank.scratch_chunks, 0, MOST_CHUNKS)
            self.within("the number of blocks", len(rank.blocks), 0, MOST_BLOCKS)
            self.within("the number of semaphores", len(rank.semaphores), 0, MOST_BLOCKS)
            for index, initial in enumerate(rank.semaphores):
                self.within(f"semaphore {index}", initial, 0, LARGEST_SEMAPHORE)
        self.at = ""
        counts = {n for rank in plan.ranks for n in (rank.input_chunks, rank.output_chunks)}
        self.within("the number of different chunks", sum(counts), 0, MOST_CHUNK_COUNTS)

    # -- channels

    def channels(self) -> None:
        ends: Counter[tuple[ChannelKind, int, int]] = Counter()
        groups: Counter[tuple[int, int]] = Counter()
        # a number for each group: comparing long groups over and over would take long
        numbers: dict[tuple[int, ...], int] = {}
        for rank_number, rank in enumerate(self.plan.ranks):
            self.rank = rank_number
            for index, channel in enumerate(rank.channels):
                self.at = f"rank {self.rank}, channel {index}: "
                if not self.peers(channel):
                    continue
                if channel.kind is ChannelKind.SWITCH:
                    groups[self.rank, numbers.setdefault(channel.peers, len(numbers))] += 1
                else:
                    ends[channel.kind, self.rank, channel.peer] += 1
        self.at = ""
        for (kind, rank_number, peer), number in ends.items():
            if ends[kind, peer, rank_number] < number:
                self.say(
                    f"rank {rank_number} has {number} {kind.value} channels to rank {peer}, "
                    f"which has {ends[kind, peer, rank_number]} to it: the k-th pairs with the k-th"
                )
        members = list(numbers)
        for (rank_number, group), number in groups.items():
            for member in members[group]:
                if groups[member, group] != number:
                    self.say(
                        f"rank {rank_number} has {number} switch channels of ranks {listed(members[group])}, "
                        f"rank {member} has {groups[member, group]} of the same ranks in that order"
                    )

    def peers(self, channel: Channel) -> bool:
        before = len(self.problems)
        for peer in channel.peers:
            self.within("peer", peer, 0, self.plan.size - 1)
        if channel.kind is ChannelKind.SWITCH:
            if len(channel.peers) < 2 or len(set(channel.peers)) < len(channel.peers):
                self.say("a switch channel has two or more different ranks")
            if self.rank not in channel.peers:
                self.say(f"its ranks {listed(channel.peers)} are without this one")
        elif len(channel.peers) != 1:
            self.say(f"a {channel.kind.value} channel has one peer, not {len(channel.peers)}")
        elif channel.peer == self.rank:
            self.say("its peer is this rank itself")
        return len(self.problems) == before

    def uses(self, index: int, *kinds: ChannelKind) -> bool:
        """Whether this rank has that channel, of one of these kinds; else says so."""
        if not self.within("channel", index, 0, len(self.own.channels) - 1):
            return False
        kind = self.own.channels[index].kind
        if kind in kinds:
            return True
        self.say(f"channel {index} is a {kind.value} channel, allowed is {' or '.join(k.value for k in kinds)}")
        return False

    # -- instructions

    def blocks(self) -> None:
        for rank_number, rank in enumerate(self.plan.ranks):
            self.rank = rank_number
            self.smallest = {
                index: {kind: min(_chunks(self.plan.ranks[p], kind) for p in channel.peers) for kind in BufferKind}
                for index, channel in enumerate(rank.channels)
                if channel.kind is ChannelKind.SWITCH
            }
            for number, block in enumerate(rank.blocks):
                for path, instruction in numbered(block):
                    self.reading = number, path, instruction
                    self.instruction(instruction, path)
        self.reading = None

    def instruction(self, instruction: Instruction, path: Path) -> None:
        match instruction:
            case Move():
                self.move(instruction)
            case Post():
                self.post(instruction)
            case Signal(channels=channels) | Wait(channels=channels):
                if not channels:
                    self.say(f"{type(instruction).__name__.lower()} names no channel")
                for channel in channels:
                    self.uses(channel, ChannelKind.MEMORY, ChannelKind.PORT)
            case Flush(channel=channel):
                self.uses(channel, ChannelKind.PORT)
            case Barrier():
                self.within("barrier", instruction.id, 0, LARGEST_BARRIER)
            case Acquire(semaphore=semaphore) | Release(semaphore=semaphore):
                self.within("semaphore", semaphore, 0, len(self.own.semaphores) - 1)
            case Loop():
                self.loop(instruction, path)

    def loop(self, loop: Loop, path: Path) -> None:
        if len(path) > 1:
            self.say("a loop inside a loop is not allowed")
        if self.within("unit", loop.unit, LOOP_UNIT, MOST_BYTES) and loop.unit % LOOP_UNIT:
            self.say(f"unit is {loop.unit}, allowed are multiples of {LOOP_UNIT}")
        self.within("slots", loop.slots, 0, MOST_SLOTS)
        if not loop.body:
            self.say("a loop has a body")

    def move(self, move: Move) -> None:
        if not move.src or not move.dst:
            self.say("a move has one or more sources and destinations")
            return
        if not self.within("the number of operands", len(move.src) + len(move.dst), 2, MOST_OPERANDS):
            return
        before = len(self.problems)
        for span in (*move.dst, *move.src):
            self.span(span, self.rank)
        if any(span.packet and span.switch is not None for span in move.src):
            self.say("a switch reduces plain data, not packets")
        self.lengths((*move.dst, *move.src))
        self.part(move)
        if not Collective.of(self.plan.collective).reduces and self.plan.collective != Collective.CUSTOM.label:
            if move.op is None and (len(move.src) > 1 or move.src[0].switch is not None):
                self.say(f"the reduction of the call is asked for, but {self.plan.collective} has none: name one")
            if move.final:
                self.say(f"final has no meaning in {self.plan.collective}, which does not reduce")
        if len(self.problems) == before and overlaps(self.rank, self.own.channels, move):
            self.say("a destination overlaps another operand without being the same: " + describe(move))

    def post(self, post: Post) -> None:
        if not self.uses(post.channel, ChannelKind.PORT):
            return
        for name, span, rank in (("src", post.src, self.rank), ("dst", post.dst, self.own.channels[post.channel].peer)):
            if span.peer is not None or span.switch is not None:
                self.say(f"{name} of a post names no peer or switch: its channel does")
            elif span.packet and not (post.src.packet and post.dst.packet):
                self.say(f"{name} of a post is in packets, the other operand is plain: both are, or none")
            else:
                self.span(span, rank)
        self.lengths((post.dst, post.src))
        self.part(post)

    def part(self, instruction: Move | Post) -> None:
        if self.within("parts", instruction.parts, 1, MOST_BLOCKS):
            self.within("part", instruction.part, 0, instruction.parts - 1)

    def lengths(self, operands: Iterable[Span]) -> None:
        even = self.plan.even
        sizes = {span.size for span in operands if even or span.buffer is not BufferKind.SCRATCH}
        if not sizes:
            self.say("all operands are scratch: the length is that of an input or output operand, and there is none")
        elif len(sizes) > 1:
            which = "operands" if even else "input and output operands"
            self.say(f"{which} of {listed(sorted(sizes))} chunks differ in length")

    def span(self, span: Span, rank: int) -> None:
        """Check an operand that lies in `rank`'s memory unless it says otherwise."""
        if span.packet and span.buffer is not BufferKind.SCRATCH:
            self.say(f"{span_text(span)}: packets lie in scratch alone")
        if span.switch is not None:
            if span.peer is not None:
                self.say(f"{span_text(span)} has both a peer and a switch")
            if not self.uses(span.switch, ChannelKind.SWITCH):
                return
            chunks = self.smallest[span.switch][span.buffer]
            whose = "of a member"
        else:
            if span.peer is not None:
                if not self.within("peer", span.peer, 0, self.plan.size - 1):
                    return
                if span.peer == self.rank:
                    self.say(f"{span_text(span)}: the peer is this rank itself; its own memory has no peer")
                rank = span.peer
            chunks = _chunks(self.plan.ranks[rank], span.buffer)
            whose = f"of rank {rank}"
        if span.index < 0 or span.size < 1 or span.index + span.size > chunks:
            asked = f"{span_text(span)}: {span.size} chunks from {span.index} on"
            self.say(f"{asked}, but the {span.buffer.value} {whose} has {chunks}", Code.OUT_OF_BOUNDS)

    def balance(self) -> None:
        self.at = ""
        for problem in unbalanced_channels(self.plan):
            self.say(problem, Code.UNMATCHED_SIGNAL)
        for problem in unbalanced_barriers(self.plan):
            self.say(problem, Code.UNMATCHED_BARRIER)


def _chunks(rank: RankPlan, buffer: BufferKind) -> int:
    match buffer:
        case BufferKind.INPUT:
            return rank.input_chunks
        case BufferKind.OUTPUT:
            return rank.output_chunks
        case BufferKind.SCRATCH:
            return rank.scratch_chunks
