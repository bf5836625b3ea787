"""`pipeline`: a plan that does everything at once, piece by piece through bounded scratch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from hal.interface.errors import PlanError
from hal.plan.lower import spans
from hal.plan.model import (
    Acquire,
    BufferKind,
    Channel,
    ChannelKind,
    Flush,
    Instruction,
    Loop,
    Move,
    Plan,
    Post,
    Release,
    Signal,
    Wait,
)
from hal.plan.passes.footprint import Memory, footprint
from hal.plan.passes.order import Block, Order
from hal.plan.passes.synchronise import synchronise
from hal.plan.validate import validate


def pipeline(plan: Plan, unit: int, slots: int = 2) -> Plan:
    """The valid, straight-line `plan` in pieces of `unit` bytes, through scratch chunks of `slots` pieces.

    Every block does in a loop, for one piece after the other, what it did for all of the data; so scratch of
    `slots * unit` bytes a chunk serves any length, and ranks may be some pieces apart. No one writes to a slot before
    all others are done with what it held `slots` pieces ago. Where the plan's own signals do not see to that, credits
    do: whoever used the slot signals each time that it is done, on a channel made for that (blocks of one rank release
    a semaphore), and whoever writes to it waits for that. `unit` is a multiple of 64. Name and other properties stay.

    `PlanError` where the plan is not valid, deadlocks, or cannot be done in pieces: it has loops, packets (whose flags
    tell launches apart and not pieces) or parts of moves; no data is moved; ranges that overlap and are written begin
    at different chunks, so that their pieces are different data; or a channel or semaphore is used by several blocks
    on one side, so that signals of different pieces could not be told apart.
    """
    if slots < 1:
        raise PlanError(f"the number of slots is 1 or more, not {slots}")
    validate(plan)
    _check(plan)
    bodies = {
        (number, block_number): _flushed(block)
        for number, rank in enumerate(plan.ranks)
        for block_number, block in enumerate(rank.blocks)
    }
    credits = _Credits(plan)
    order = Order(plan, bodies, slots + 1)
    for (user, writer), (last, first) in sorted(_unordered_reuses(plan, bodies, order).items()):
        credits.add(user, last, writer, first, slots)
    ranks = []
    for number, rank in enumerate(plan.ranks):
        blocks = tuple(
            credits.loop((number, block_number), bodies[number, block_number], unit, slots)
            for block_number in range(len(rank.blocks))
        )
        channels = (*rank.channels, *credits.channels[number])
        ranks.append(
            replace(rank, blocks=blocks, channels=channels, semaphores=(*rank.semaphores, *credits.semaphores[number]))
        )
    made = synchronise(replace(plan, ranks=tuple(ranks), scratch_chunk_bytes=unit * slots))
    validate(made)
    return made


def _flushed(block: Sequence[Instruction]) -> tuple[Instruction, ...]:
    """The block with a flush at its end of every channel on which it posted to or from scratch after its last flush."""
    open_posts: dict[int, Post] = {}
    for instruction in block:
        if isinstance(instruction, Post) and BufferKind.SCRATCH in (instruction.src.buffer, instruction.dst.buffer):
            open_posts[instruction.channel] = instruction
        if isinstance(instruction, Flush) or (isinstance(instruction, Post) and instruction.flush):
            open_posts.pop(instruction.channel, None)
    return (*block, *(Flush(channel, source=post.source) for channel, post in sorted(open_posts.items())))


Use = tuple[int, int]
"""The last instruction of a block that uses some scratch, and the first of another that writes to it."""


def _unordered_reuses(
    plan: Plan, bodies: dict[Block, tuple[Instruction, ...]], order: Order
) -> dict[tuple[Block, Block], Use]:
    """Where a block uses scratch and another writes to it some pieces later without knowing that the first is done."""
    last: defaultdict[tuple[Memory, int], dict[Block, int]] = defaultdict(dict)
    first: defaultdict[tuple[Memory, int], dict[Block, int]] = defaultdict(dict)
    for block, body in bodies.items():
        posts: defaultdict[int, list[tuple[Memory, int]]] = defaultdict(list)
        for index, instruction in enumerate(body):
            if isinstance(instruction, Flush):
                # only now are the posts done
                for place in posts.pop(instruction.channel, ()):
                    last[place][block] = index
            if not isinstance(instruction, Move | Post):
                continue
            for access in footprint(block[0], plan.ranks[block[0]].channels, instruction):
                if not access.in_scratch:
                    continue
                # ranges that overlap begin at the same chunk
                place = access.memory, access.first
                last[place][block] = index
                if access.writes:
                    first[place].setdefault(block, index)
                if isinstance(instruction, Post) and not instruction.flush:
                    posts[instruction.channel].append(place)
    found: dict[tuple[Block, Block], Use] = {}
    for place, writers in first.items():
        for writer, begin in writers.items():
            for user, end in last[place].items():
                if user != writer and not order.before(user, end, writer, begin):
                    known = found.get((user, writer), (end, begin))
                    found[user, writer] = max(known[0], end), min(known[1], begin)
    return found


@dataclass
class _Credits:
    """What tells a block that a slot is free again: channels between ranks, semaphores within one."""

    plan: Plan
    channels: defaultdict[int, list[Channel]] = field(default_factory=lambda: defaultdict(list))
    semaphores: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    given: defaultdict[Block, defaultdict[int, list[Instruction]]] = field(default_factory=lambda: _by_place())
    """After which instruction of a block what is given."""
    taken: defaultdict[Block, defaultdict[int, list[Instruction]]] = field(default_factory=lambda: _by_place())
    """Before which instruction of a block what is taken."""

    _ends: dict[tuple[Block, Block], int] = field(default_factory=dict)
    """For each of two blocks the channel to the other, which serves both directions."""

    def add(self, user: Block, last: int, writer: Block, first: int, slots: int) -> None:
        """Let `writer` wait at its instruction `first` for `user` to be done with `last`, `slots` pieces ago."""
        if user[0] == writer[0]:
            semaphore = len(self.plan.ranks[user[0]].semaphores) + len(self.semaphores[user[0]])
            self.semaphores[user[0]].append(slots)
            self.given[user][last].append(Release(semaphore))
            self.taken[writer][first].append(Acquire(semaphore))
            return
        if (user, writer) not in self._ends:
            kind = self._kind(user[0], writer[0])
            self._ends[user, writer] = self._channel(kind, user[0], writer[0])
            self._ends[writer, user] = self._channel(kind, writer[0], user[0])
        self.given[user][last].append(Signal((self._ends[user, writer],)))
        self.taken[writer][first].append(Wait((self._ends[writer, user],)))

    def loop(self, block: Block, body: Sequence[Instruction], unit: int, slots: int) -> tuple[Instruction, ...]:
        """The block: its body for every piece, and around it the credits of the slots that are free at first."""
        if not body:
            return ()
        given, taken = self.given[block], self.taken[block]
        inner: list[Instruction] = []
        for index, instruction in enumerate(body):
            inner += _joined(taken[index], instruction.source)
            inner.append(instruction)
            inner += _joined(given[index], instruction.source)
        source = body[0].source
        before = [i for many in given.values() for i in many if isinstance(i, Signal)]
        # every signal of a launch is waited for in that launch
        after = [i for many in taken.values() for i in many if isinstance(i, Wait)]
        return (
            *(list(_joined(before, source)) * slots),
            Loop(unit, tuple(inner), slots, source=source),
            *(list(_joined(after, source)) * slots),
        )

    def _channel(self, kind: ChannelKind, rank: int, peer: int) -> int:
        self.channels[rank].append(Channel(kind, (peer,)))
        return len(self.plan.ranks[rank].channels) + len(self.channels[rank]) - 1

    def _kind(self, rank: int, peer: int) -> ChannelKind:
        """Ports where the plan has nothing but ports between the two."""
        kinds = {c.kind for c in self.plan.ranks[rank].channels if c.kind is not ChannelKind.SWITCH and c.peer == peer}
        return ChannelKind.PORT if kinds == {ChannelKind.PORT} else ChannelKind.MEMORY


def _by_place() -> defaultdict[Block, defaultdict[int, list[Instruction]]]:
    return defaultdict(lambda: defaultdict(list))


def _joined(instructions: Sequence[Instruction], source: str) -> Iterator[Instruction]:
    """These credits as few instructions: all signals as one, all waits as one."""
    signals = [c for i in instructions if isinstance(i, Signal) for c in i.channels]
    waits = [c for i in instructions if isinstance(i, Wait) for c in i.channels]
    if signals:
        yield Signal(tuple(signals), source=source)
    if waits:
        yield Wait(tuple(waits), source=source)
    for instruction in instructions:
        if isinstance(instruction, Acquire | Release):
            yield replace(instruction, source=source)


def _check(plan: Plan) -> None:
    """Refuse what cannot be done in pieces."""
    problem = _unfit(plan) or _shared_ends(plan) or _skewed_ranges(plan)
    if problem is not None:
        raise PlanError(f"plan {plan.name!r} cannot be done in pieces: {problem}")


def _unfit(plan: Plan) -> str | None:
    operands = list(spans(plan))
    if any(span.packet for span in operands):
        return "it has packets, whose flags are of a launch and not of a piece"
    if not any(plan.even or span.buffer is not BufferKind.SCRATCH for span in operands):
        return "it moves no data"
    for number, rank in enumerate(plan.ranks):
        for block_number, block in enumerate(rank.blocks):
            for index, instruction in enumerate(block):
                where = f"rank {number}, block {block_number}, instruction {index} is"
                if isinstance(instruction, Loop):
                    return f"{where} a loop already"
                if isinstance(instruction, Move | Post) and instruction.parts > 1:
                    return f"{where} about a part of its operands"
    return None


def _shared_ends(plan: Plan) -> str | None:
    """Signals are told apart by their number, which several blocks that count on would mix up."""
    for number, rank in enumerate(plan.ranks):
        users: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
        tally: defaultdict[int, int] = defaultdict(int)
        for block_number, block in enumerate(rank.blocks):
            for instruction in block:
                match instruction:
                    case Signal(channels=channels):
                        uses = [("signalled on channel", c) for c in channels]
                    case Wait(channels=channels):
                        uses = [("waited for on channel", c) for c in channels]
                    case Post(channel=channel, signal=True):
                        uses = [("signalled on channel", channel)]
                    case Acquire(semaphore=semaphore):
                        uses = [("acquired of semaphore", semaphore)]
                        tally[semaphore] -= 1
                    case Release(semaphore=semaphore):
                        uses = [("released of semaphore", semaphore)]
                        tally[semaphore] += 1
                    case _:
                        uses = []
                for use in uses:
                    users[use].add(block_number)
        for (what, index), blocks in users.items():
            if len(blocks) > 1:
                verb, thing = what.split(maxsplit=1)
                return f"{thing.split()[-1]} {index} of rank {number} is {verb} by several blocks: {sorted(blocks)}"
        for semaphore, rest in tally.items():
            if rest:
                return f"semaphore {semaphore} of rank {number} is not released as often as it is acquired"
    return None


def _skewed_ranges(plan: Plan) -> str | None:
    """Piece i of a range begins i units after the range does: ranges that overlap have to begin together."""
    reach: defaultdict[Memory, dict[int, tuple[int, int]]] = defaultdict(dict)
    for number, rank in enumerate(plan.ranks):
        for block in rank.blocks:
            for operation in (i for i in block if isinstance(i, Move | Post)):
                for access in footprint(number, rank.channels, operation, plan):
                    end, written = reach[access.memory].get(access.first, (0, 0))
                    written = max(written, access.end if access.writes else 0)
                    reach[access.memory][access.first] = max(end, access.end), written
    for (owner, buffer), ranges in reach.items():
        so_far = written_so_far = 0
        for first, (end, written) in sorted(ranges.items()):
            if first < written_so_far or (written and first < so_far):
                return (
                    f"ranges of rank {owner}'s {buffer.value} overlap at chunk {first}, begin at different chunks, "
                    "and are written"
                )
            so_far, written_so_far = max(so_far, end), max(written_so_far, written)
    return None
