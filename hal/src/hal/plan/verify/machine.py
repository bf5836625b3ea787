"""The symbolic execution: every block runs once, in an order that the waits allow, with vector clocks.

Plans have no data-dependent control flow, every counter only grows, and blocks that wait on one channel or semaphore
are ordered (`contended` otherwise). So whether a block can go on never depends on the order in which others went, one
execution reaches what every execution reaches, and accesses that the clocks do not order can happen in either order.

Where blocks that nothing orders signal one channel, or release one semaphore, a wait learns of none of them as long as
other signals than here could have served it. The execution is repeated with these doubts until it raises no more.

Each block and each port channel has two clocks: `seen`, what has been made visible to it by release and acquire, and
`passed`, what has happened before it, relaxed signals included. Reading or overwriting what another block wrote needs
visibility; overwriting what it has read, and the beginning and end of a launch, need order alone. The arrival of a
packet orders nothing but its own data: whoever holds an element of it knows that what this element was made of has been
read, and may overwrite that.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hal.plan.ends import End
from hal.plan.findings import Code, Finding
from hal.plan.model import Acquire, Barrier, Flush, Move, Post, Release, Signal, Wait
from hal.plan.verify.locks import locks
from hal.plan.verify.memory import Access, Clock, Memory
from hal.plan.verify.steps import PACKETS, Block, Operand, Program, Step, Transfer, at_piece, walk
from hal.plan.verify.tokens import Doubts, Key, Snapshot, Tokens


@dataclass
class Actor:
    """A block or the engine of a port channel: its clocks. `epoch` is its own entry in them, which it alone raises."""

    index: int
    rank: int
    seen: Clock
    passed: Clock
    epoch: int = 0

    def tick(self) -> None:
        """End the epoch."""
        self.epoch += 1
        self.seen[self.index] = self.epoch
        if self.passed is not self.seen:
            self.passed[self.index] = self.epoch

    def publish(self, relaxed: bool) -> Snapshot:
        """A copy of the clocks by which others learn of everything up to now. Ends the epoch."""
        self.tick()
        passed = self.passed.copy()
        if relaxed:
            return None, passed
        return (passed if self.seen is self.passed else self.seen.copy()), passed

    def join(self, seen: Clock | None, passed: Clock) -> None:
        """Learn of what another has published. `seen` None: the order alone."""
        if seen is not None:
            np.maximum(self.seen, seen, out=self.seen)
        if self.passed is not self.seen:
            np.maximum(self.passed, passed, out=self.passed)


@dataclass(frozen=True)
class Stuck:
    """A block that cannot go on, the step it stands at, and what it waits for."""

    block: Block
    step: Step
    piece: int
    key: Key


class Machine:
    """One execution on several memories at once, which differ in how input and output share memory."""

    def __init__(self, program: Program, memories: Sequence[Memory], doubts: Doubts = frozenset()) -> None:
        self.program = program
        self.doubts = doubts
        self.memories = memories
        self.findings: list[Finding] = []
        plan = program.plan
        ports = sorted({(r, c) for c, r in _posting(program)})
        count = len(program.blocks) + len(ports)
        relaxed = any(getattr(step.instruction, "relaxed", False) for step in program.steps)

        def actor(index: int, rank: int) -> Actor:
            seen = np.zeros(count, np.int32)
            found = Actor(index, rank, seen, seen.copy() if relaxed else seen)
            found.tick()
            return found

        self.actors = [actor(block.index, block.rank) for block in program.blocks]
        self.ports = {end: actor(len(program.blocks) + i, end[0]) for i, end in enumerate(ports)}
        self.channels: defaultdict[End, Tokens] = defaultdict(Tokens)
        """By the receiving end."""
        self.semaphores = {
            (rank, index): Tokens(free=initial, given=initial)
            for rank, part in enumerate(plan.ranks)
            for index, initial in enumerate(part.semaphores)
        }
        self.locks = locks(plan)
        self.posters: defaultdict[End, Tokens] = defaultdict(Tokens)
        """Who uses a port channel, by the sending end."""
        self.meetings: dict[tuple[int, int], list[Actor]] = defaultdict(list)
        self.met: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.waiting: defaultdict[Key, list[int]] = defaultdict(list)
        self.stuck: dict[int, Stuck] = {}
        self.ready: deque[int] = deque()
        self.steps = 0

    def run(self) -> list[Stuck]:
        """Run all blocks as far as they go; returns those that cannot end."""
        running = {block.index: self._block(block) for block in self.program.blocks}
        self.ready.extend(running)
        while self.ready:
            index = self.ready.popleft()
            key = next(running[index], None)
            if key is None:
                self.stuck.pop(index, None)
            else:
                self.waiting[key].append(index)
        return list(self.stuck.values())

    def end_of(self, rank: int) -> Clock:
        """What has happened before a rank's end of the launch: all that its blocks and its posts have seen."""
        members = [self.actors[i] for i in self.program.blocks_of(rank)]
        members += [port for (owner, _), port in self.ports.items() if owner == rank]
        clock = np.zeros(len(self.actors) + len(self.ports), np.int32)
        for member in members:
            np.maximum(clock, member.passed, out=clock)
            clock[member.index] = np.iinfo(np.int32).max
        return clock

    def _wake(self, key: Key) -> None:
        if key in self.waiting:
            self.ready.extend(self.waiting.pop(key))

    # -- instructions

    def _block(self, block: Block) -> Iterator[Key]:
        own = self.actors[block.index]
        for step, piece in walk(block):
            self.steps += 1
            instruction = step.instruction
            if isinstance(instruction, Move):
                yield from self._move(own, step, piece)
            else:
                own.tick()
                match instruction:
                    case Signal():
                        self._signal(own, step, instruction)
                    case Wait(channels=channels, relaxed=relaxed):
                        for channel in channels:
                            tokens = self.channels[block.rank, channel]
                            key: Key = ("channel", block.rank, channel)
                            yield from self._take(own, step, piece, tokens, key, relaxed)
                    case Barrier():
                        yield from self._barrier(own, step, piece, instruction)
                    case Acquire(semaphore=semaphore) | Release(semaphore=semaphore) if (
                        block.rank,
                        semaphore,
                    ) in self.locks:
                        pass  # it is always given back, and orders nothing
                    case Acquire(semaphore=semaphore):
                        tokens = self.semaphores[block.rank, semaphore]
                        key = ("semaphore", block.rank, semaphore)
                        yield from self._take(own, step, piece, tokens, key, False)
                    case Release(semaphore=semaphore):
                        tokens = self.semaphores[block.rank, semaphore]
                        self._give(own, step, tokens, own.publish(False), ("semaphore", block.rank, semaphore))
                    case Post():
                        yield from self._post(own, step, piece, instruction)
                    case Flush(channel=channel):
                        end = (block.rank, channel)
                        self._in_turn(own, step, self.posters[end], f"channel {channel}")
                        self._flush(own, end)

    def _move(self, own: Actor, step: Step, piece: int) -> Iterator[Key]:
        transfer = step.transfer
        if transfer is None:
            return
        sources, targets, length = at_piece(transfer, step.loop, piece)
        if not length:
            return
        yield from self._arrival(own, step, piece, sources, length)
        self._transfer(self._access(own, step, piece), sources, targets, length, transfer)

    def _access(self, own: Actor, step: Step, piece: int) -> Access:
        return Access(own.index, own.epoch, self.program.instance(step, piece), own.seen, own.passed, own.rank)

    def _arrival(self, own: Actor, step: Step, piece: int, sources: Sequence[Operand], length: int) -> Iterator[Key]:
        """Wait until all packets among the sources are there."""
        for operand in sources:
            if operand[0] & 3 == PACKETS:
                while not self.memories[0].arrived(operand, length):
                    self._is_stuck(own, step, piece, ("packets", operand[0], operand[1], length))
                    yield ("packets", operand[0])

    def _transfer(
        self, who: Access, sources: Sequence[Operand], targets: Sequence[Operand], length: int, transfer: Transfer
    ) -> None:
        first = self.memories[0]
        first.begins(who, sources)
        first.begins(who, targets)
        for memory in self.memories:
            memory.move(who, sources, targets, length, transfer.op, transfer.final)
        for operand in targets:
            if operand[0] & 3 == PACKETS:
                self._wake(("packets", operand[0]))

    def _post(self, own: Actor, step: Step, piece: int, post: Post) -> Iterator[Key]:
        if step.transfer is not None:
            sources, targets, length = at_piece(step.transfer, step.loop, piece)
            yield from self._arrival(own, step, piece, sources, length)
        port = self._port(own, step, (own.rank, post.channel))
        if step.transfer is not None and length:
            self._transfer(self._access(port, step, piece), sources, targets, length, step.transfer)
        port.tick()
        if post.signal:
            self._deliver(port, step, (own.rank, post.channel), port.publish(False))
        if post.flush:
            self._flush(own, (own.rank, post.channel))

    def _port(self, own: Actor, step: Step, end: End) -> Actor:
        """The engine of a port channel, after it has seen all that the posting block has done."""
        port = self.ports[end]
        self._in_turn(own, step, self.posters[end], f"channel {end[1]}")
        port.join(own.seen, own.passed)
        own.tick()
        return port

    def _flush(self, own: Actor, end: End) -> None:
        port = self.ports.get(end)
        if port is not None:
            own.join(port.seen, port.passed)

    def _signal(self, own: Actor, step: Step, signal: Signal) -> None:
        snapshot: Snapshot | None = None
        for channel in signal.channels:
            end = (own.rank, channel)
            if end in self.ports:
                # it follows what was posted before it
                port = self._port(own, step, end)
                self._deliver(port, step, end, port.publish(signal.relaxed))
            else:
                snapshot = snapshot or own.publish(signal.relaxed)
                self._deliver(own, step, end, snapshot)

    def _deliver(self, giver: Actor, step: Step, end: End, snapshot: Snapshot) -> None:
        other = self.program.others[end]
        self._give(giver, step, self.channels[other], snapshot, ("channel", *other))

    def _give(self, giver: Actor, step: Step, tokens: Tokens, snapshot: Snapshot, key: Key) -> None:
        last = tokens.last_giver
        if last is not None and giver.passed[last[0]] <= last[1] and tokens.unordered_givers is None:
            tokens.unordered_givers = (last[2], step.number)
        tokens.last_giver = (giver.index, giver.epoch - 1, step.number)
        tokens.published.append(snapshot)
        tokens.given += 1
        if (key, 0) in self.doubts:
            tokens.gives[giver.index].append((tokens.given, snapshot[1]))
        self._wake(key)

    def _take(self, own: Actor, step: Step, piece: int, tokens: Tokens, key: Key, relaxed: bool) -> Iterator[Key]:
        """Wait for the next token. It brings what was published with it and with all before it.

        A taker that cannot know whose token it got learns nothing; the next one that can does so for it.
        """
        tokens.taken += 1
        wanted = tokens.taken
        self._in_turn(own, step, tokens, f"{key[0]} {key[2]}")
        while tokens.given < wanted:
            self._is_stuck(own, step, piece, key)
            yield key
        if wanted > tokens.free:
            tokens.held.append(tokens.published.popleft())
            if (key, wanted) not in self.doubts:
                for seen, passed in tokens.held:
                    own.join(None if relaxed else seen, passed)
                tokens.held.clear()
            if (key, 0) in self.doubts:
                tokens.takes.append((own.index, own.epoch, wanted))
        tokens.last_taker = (own.index, own.epoch, step.number)
        own.tick()

    def _is_stuck(self, own: Actor, step: Step, piece: int, key: Key) -> None:
        self.stuck[own.index] = Stuck(self.program.blocks[own.index], step, piece, key)

    def _in_turn(self, own: Actor, step: Step, tokens: Tokens, what: str) -> None:
        """Find takers that nothing orders: it is then open which of them a signal serves."""
        last = tokens.last_taker
        if last is not None and last[0] != own.index and own.passed[last[0]] <= last[1]:
            message = f"two blocks of rank {own.rank} use its {what}, and nothing orders them"
            where = (self.program.where(last[2]), self.program.where(step.number))
            self.findings.append(Finding(Code.CONTENDED, message, where))
        tokens.last_taker = (own.index, own.epoch, step.number)

    def doubtful(self) -> Doubts:
        """Takers that may have got another token than here, and the keys on which there may be such."""
        found: set[tuple[Key, int]] = set(self.doubts)
        for key, tokens in self._tokens():
            if tokens.unordered_givers is not None:
                found.add((key, 0))
                found.update((key, wanted) for wanted in tokens.open_takes())
        return frozenset(found)

    def contended(self) -> Iterator[Finding]:
        """A finding for each channel and semaphore of which a taker does not know whose token it got."""
        for key, tokens in self._tokens():
            if tokens.unordered_givers is not None and any(each == key and wanted for each, wanted in self.doubts):
                kind, rank, index = key
                first, second = tokens.unordered_givers
                message = (
                    f"{kind} {index} of rank {rank} is signalled by two blocks that nothing orders: "
                    "a wait cannot tell whose signal it got"
                )
                yield Finding(Code.CONTENDED, message, (self.program.where(first), self.program.where(second)))

    def _tokens(self) -> Iterator[tuple[Key, Tokens]]:
        for end, tokens in self.channels.items():
            yield ("channel", *end), tokens
        for end, tokens in self.semaphores.items():
            yield ("semaphore", *end), tokens

    def _barrier(self, own: Actor, step: Step, piece: int, barrier: Barrier) -> Iterator[Key]:
        key = (own.rank, barrier.id)
        members = self.meetings[key]
        members.append(own)
        wanted = self.met[key] + 1
        if len(members) == barrier.blocks:
            seen, passed = members[0].seen.copy(), members[0].passed.copy()
            for member in members[1:]:
                np.maximum(seen, member.seen, out=seen)
                np.maximum(passed, member.passed, out=passed)
            for member in members:
                member.join(seen, passed)
                member.tick()
            self.meetings[key] = []
            self.met[key] = wanted
            self._wake(("barrier", *key))
            return
        while self.met[key] < wanted:
            self._is_stuck(own, step, piece, ("barrier", *key))
            yield ("barrier", *key)


def _posting(program: Program) -> set[tuple[int, int]]:
    """The port channels on which something is posted or signalled: (channel, rank) each."""
    found = set()
    for step in program.steps:
        rank = program.blocks[step.block].rank
        instruction = step.instruction
        if isinstance(instruction, Post):
            found.add((instruction.channel, rank))
        elif isinstance(instruction, Signal):
            for channel in instruction.channels:
                if program.plan.ranks[rank].channels[channel].kind.value == "port":
                    found.add((channel, rank))
    return found
