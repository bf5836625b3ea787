"""A plan as the event loop runs it: agents (blocks and port channels), their code, and the objects that they share.

Compiling resolves operands to bytes, peers to routes and channels to counters. What an agent refers to outside itself
is an *object*: a link or other resource, a counter of signals, a port, a barrier, a semaphore, the packets in a rank's
scratch. Code names objects by *slots*, numbers in the order of first use, so that blocks that do the same on different
ranks have equal code (`Shape`), which is kept once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hal.interface.errors import PlanError, UsageError
from hal.plan.ends import other_ends
from hal.plan.layout import Layout
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
from hal.plan.simulate.topology import Route, Topology

Op: TypeAlias = tuple[Any, ...]
"""An opcode and its operands, see `Opcodes`; equal ones are the same object."""

MOVE, SIGNAL, WAIT, POST, FLUSH, SYNC, BARRIER, ACQUIRE, RELEASE, LOOP, END, DELIVER = range(12)
"""Opcodes, with their operands:

- MOVE pattern, bytes, packets read and written as ((slot, offset), …)
- SIGNAL ((slot, latency), …), (slot of a port, …)
- WAIT (slot, …)
- POST slot of the port, bytes, whether it signals, whether it flushes
- FLUSH slot of the port
- BARRIER slot, blocks; ACQUIRE slot; RELEASE slot
- LOOP unit, slots, instructions of the body; END closes the body
- DELIVER latency of an acknowledgement: what a port does over and over
"""

Packets: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a byte of a move costs. `usage` says for slots of resources how much of their capacity; `seconds` is the
    time that the block itself takes; `lead` passes before the first byte, `latency` after the last."""

    usage: tuple[tuple[int, float], ...]
    seconds: float
    lead: float
    latency: float


@dataclass(frozen=True, slots=True)
class Shape:
    """What an agent does, apart from which objects it does it to."""

    kind: str
    """`block` or `port`."""
    number: int
    """Of the block in its rank; for a port, 0."""
    code: tuple[Op, ...]
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Agent:
    """A block of a rank, or the engine behind one of its port channels (`number` is then the channel)."""

    rank: int
    number: int
    shape: Shape
    slots: tuple[int, ...]
    """The object of each slot."""


@dataclass
class Program:
    """All agents of a call of a plan, and its objects: the properties in which objects differ by themselves."""

    plan: Plan
    layout: Layout
    topology: Topology
    agents: list[Agent] = field(default_factory=list, repr=False)
    objects: list[Hashable] = field(default_factory=list, repr=False)
    """What is known of each object: kind, and its capacity, initial value or number of blocks."""
    keys: list[tuple[object, ...]] = field(default_factory=list, repr=False)
    """The identity of each object: kind, rank, number."""
    pieces: dict[int, int] = field(default_factory=dict)
    """How many pieces the loops of each unit run, as `hal.plan.lower.loop_pieces` has it."""


def compile_plan(plan: Plan, layout: Layout, topology: Topology) -> Program:
    """The agents of all ranks; rank r of the plan is rank r of the topology.

    `UsageError` where the topology has too few ranks, `PlanError` where the operands of a move differ in length.
    """
    if plan.size > topology.size:
        raise UsageError(f"plan {plan.name!r} is for {plan.size} ranks, but {topology.name} has {topology.size}")
    program = Program(plan, layout, topology)
    compiler = _Compiler(program)
    for rank in range(plan.size):
        for number in range(len(plan.ranks[rank].blocks)):
            compiler.block(rank, number)
    compiler.ports()
    program.pieces = {unit: -(-longest // unit) for unit, longest in compiler.longest.items()}
    return program


class _Compiler:
    """What blocks have in common while they are compiled."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.topology = program.topology
        self.ends = other_ends(program.plan)
        self.longest: dict[int, int] = {}
        self.numbers: dict[tuple[object, ...], int] = {}
        self.ops: dict[Op, Op] = {}
        self.shapes: dict[Shape, Shape] = {}
        self.posted: dict[tuple[int, int], None] = {}

    def object(self, key: tuple[object, ...], known: Hashable) -> int:
        """The number of the object that `key` identifies; `known` says what it is like by itself."""
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.numbers)
            self.program.keys.append(key)
            self.program.objects.append(known)
        return number

    def counter(self, rank: int, channel: int) -> int:
        """The signals that have come to `rank` on its channel."""
        return self.object(("counter", rank, channel), "counter")

    def port(self, rank: int, channel: int) -> int:
        self.posted[rank, channel] = None
        return self.object(("port", rank, channel), "port")

    def resource(self, number: int) -> int:
        resource = self.topology.resources[number]
        return self.object(("resource", number), (resource.kind, resource.capacity))

    def block(self, rank: int, number: int) -> None:
        block = _Block(self, rank, number)
        block.instructions(self.program.plan.ranks[rank].blocks[number], None)
        self.agent(rank, number, Shape("block", number, tuple(block.code), tuple(block.patterns)), block.slots)

    def ports(self) -> None:
        """The engines of the ports that are used. They have one pattern for data, and one slot for their signals."""
        for rank, channel in self.posted:
            slots: dict[int, int] = {}
            peer = self.program.plan.ranks[rank].channels[channel].peer
            slots[self.port(rank, channel)] = 0
            slots[self.counter(*self.ends[rank, channel])] = 1
            costs = _Costs(self, rank, slots)
            costs.own(1.0)
            costs.stored(peer, 1.0)
            pattern = costs.pattern(0.0)
            back = self.topology.route(peer, rank).latency
            self.agent(rank, channel, Shape("port", 0, ((DELIVER, back),), (pattern,)), slots)

    def agent(self, rank: int, number: int, shape: Shape, slots: dict[int, int]) -> None:
        self.program.agents.append(Agent(rank, number, self.shapes.setdefault(shape, shape), tuple(slots)))


class _Costs:
    """Adds up what a byte of a move costs."""

    def __init__(self, compiler: _Compiler, rank: int, slots: dict[int, int]) -> None:
        self.compiler = compiler
        self.topology = compiler.topology
        self.rank = rank
        self.slots = slots
        self.usage: dict[int, float] = {}
        self.round_trip = 0.0
        self.latency = 0.0

    def use(self, resource: int | None, amount: float) -> None:
        if resource is not None and amount:
            number = self.compiler.resource(resource)
            slot = self.slots.setdefault(number, len(self.slots))
            self.usage[slot] = self.usage.get(slot, 0.0) + amount

    def links(self, route: Route, amount: float) -> None:
        for link in route.links:
            self.use(link, amount)

    def own(self, amount: float) -> None:
        self.use(self.topology.memory_of(self.rank), amount)

    def stored(self, peer: int, amount: float) -> None:
        route = self.topology.route(self.rank, peer)
        self.links(route, amount)
        self.use(self.topology.memory_of(peer), amount)
        self.latency = max(self.latency, route.latency)

    def loaded(self, peer: int, amount: float) -> None:
        route = self.topology.route(peer, self.rank)
        self.links(route, amount)
        self.use(self.topology.memory_of(peer), amount)
        self.round_trip = max(self.round_trip, route.latency + self.topology.route(self.rank, peer).latency)

    def multicast(self, members: Sequence[int], load: bool) -> None:
        """One store to all members, or one load of the reduction over all: every link of the tree carries it once."""
        others = [m for m in members if m != self.rank]
        there = [self.topology.route(self.rank, m) for m in others]
        back = [self.topology.route(m, self.rank) for m in others]
        tree = self.topology.tree(back if load else there)
        self.links(tree, 1.0)
        for member in members:
            self.use(self.topology.memory_of(member), 1.0)
        if load:
            farthest = max((a.latency + b.latency for a, b in zip(there, back, strict=True)), default=0.0)
            self.round_trip = max(self.round_trip, farthest)
        else:
            self.latency = max(self.latency, tree.latency)

    def pattern(self, seconds: float) -> Pattern:
        self.use(self.topology.processors_of(self.rank) if seconds else None, seconds)
        return Pattern(tuple(sorted(self.usage.items())), seconds, self.round_trip, self.latency)


class _Block:
    """The code of one block while it is made."""

    def __init__(self, compiler: _Compiler, rank: int, number: int) -> None:
        self.compiler = compiler
        self.program = compiler.program
        self.rank = rank
        self.number = number
        self.part = self.program.plan.ranks[rank]
        self.code: list[Op] = []
        self.slots: dict[int, int] = {}
        self.patterns: list[Pattern] = []
        self.known: dict[object, tuple[int, bool]] = {}
        """By where the operands of a move lie: its pattern, and whether packets are among them."""
        self.signals: dict[int, Op] = {}
        """The code of signals and waits by their identity: a large plan repeats few of them over and over."""

    def instructions(self, body: Sequence[Instruction], loop: Loop | None) -> None:
        ops, code, signals = self.compiler.ops, self.code, self.signals
        for instruction in body:
            if (known := signals.get(id(instruction))) is not None:
                code.append(known)
                continue
            made = self.op(instruction, loop)
            code.append(op := ops.setdefault(made, made))
            if op[0] in (SIGNAL, WAIT):
                signals[id(instruction)] = op
            if type(instruction) is Loop:
                self.compiler.longest.setdefault(instruction.unit, 0)
                self.instructions(instruction.body, instruction)
                code.append((END,))

    def op(self, instruction: Instruction, loop: Loop | None) -> Op:
        match instruction:
            case Move():
                return self.move(instruction, loop)
            case Signal():
                return self.signal(instruction.channels)
            case Wait():
                return (WAIT, tuple(self.slot(self.compiler.counter(self.rank, c)) for c in instruction.channels))
            case Post(channel=channel):
                dst = instruction.dst
                target = Span(dst.buffer, dst.index, dst.size, self.part.channels[channel].peer)
                length, _ = self.length((target, instruction.src), instruction, loop)
                port = self.slot(self.compiler.port(self.rank, channel))
                return (POST, port, length, instruction.signal, instruction.flush)
            case Flush(channel=channel):
                return (FLUSH, self.slot(self.compiler.port(self.rank, channel)))
            case Sync():
                return (SYNC,)
            case Barrier(id=number, blocks=blocks):
                key = ("barrier", self.rank, number)
                return (BARRIER, self.slot(self.compiler.object(key, ("barrier", blocks))), blocks)
            case Acquire(semaphore=number):
                return (ACQUIRE, self.semaphore(number))
            case Release(semaphore=number):
                return (RELEASE, self.semaphore(number))
            case Loop():
                return (LOOP, instruction.unit, instruction.slots, len(instruction.body))

    def slot(self, number: int) -> int:
        return self.slots.setdefault(number, len(self.slots))

    def semaphore(self, number: int) -> int:
        known = ("semaphore", self.part.semaphores[number])
        return self.slot(self.compiler.object(("semaphore", self.rank, number), known))

    def signal(self, channels: tuple[int, ...]) -> Op:
        direct, ports = [], []
        for channel in channels:
            end = self.part.channels[channel]
            if end.kind is ChannelKind.PORT:
                ports.append(self.slot(self.compiler.port(self.rank, channel)))
            else:
                latency = self.compiler.topology.route(self.rank, end.peer).latency
                direct.append((self.slot(self.compiler.counter(*self.compiler.ends[self.rank, channel])), latency))
        return (SIGNAL, tuple(direct), tuple(ports))

    def move(self, move: Move, loop: Loop | None) -> Op:
        places = (
            tuple([(s.peer, s.packet, s.switch) for s in move.dst]),
            tuple([(s.peer, s.packet, s.switch) for s in move.src]),
        )
        spans = (*move.dst, *move.src)
        known = self.known.get(places)
        if known is None:
            known = self.known[places] = len(self.patterns), any(s.packet for s in spans)
            self.patterns.append(self.pattern(move))
        pattern, packets = known
        length, skipped = self.length(spans, move, loop)
        if not packets:
            return (MOVE, pattern, length, (), ())
        reads = tuple(p for s in move.src if s.packet for p in self.packets(s, skipped))
        writes = tuple(p for s in move.dst if s.packet for p in self.packets(s, skipped))
        return (MOVE, pattern, length, reads, writes)

    def packets(self, span: Span, skipped: int) -> list[tuple[int, int]]:
        offset = span.index * self.program.layout.scratch_chunk + skipped
        return [(self.slot(self.compiler.object(("packets", r), "packets")), offset) for r in self.owners(span)]

    def owners(self, span: Span) -> tuple[int, ...]:
        if span.switch is not None:
            return self.part.channels[span.switch].peers
        return (self.rank if span.peer is None else span.peer,)

    def pattern(self, move: Move) -> Pattern:
        costs = _Costs(self.compiler, self.rank, self.slots)
        for span in move.dst:
            if span.switch is not None:
                costs.multicast(self.owners(span), load=False)
            elif span.peer is None or span.peer == self.rank:
                costs.own(_weight(span))
            else:
                costs.stored(span.peer, _weight(span))
        for span in move.src:
            if span.switch is not None:
                costs.multicast(self.owners(span), load=True)
            elif span.peer is None or span.peer == self.rank:
                costs.own(_weight(span))
            else:
                costs.loaded(span.peer, _weight(span))
        compute = self.compiler.topology.compute
        first, *others = map(_weight, move.src)
        copied = max(first, sum(map(_weight, move.dst)))
        return costs.pattern(copied / compute.copy + sum(others) / compute.reduce)

    def length(self, spans: Sequence[Span], part: Move | Post, loop: Loop | None) -> tuple[int, int]:
        """How many bytes of each operand are moved, and how many of it come before."""
        layout, even = self.program.layout, self.program.plan.even
        whole = -1
        for span in spans:
            if span.buffer is BufferKind.SCRATCH:
                if not even:
                    continue
                length = span.size * layout.longest
            else:
                owner = self.owners(span)[0]
                chunks = layout.inputs if span.buffer is BufferKind.INPUT else layout.outputs
                length = chunks[owner][span.index][1] if span.size == 1 else layout.extent(owner, span)[1]
            if whole not in (-1, length):
                raise PlanError(f"{self.where(part)}: its operands are of {whole} and of {length} bytes")
            whole = length
        if whole < 0:
            raise PlanError(f"{self.where(part)}: all its operands are scratch, which has no length")
        skipped, length = layout.part(whole, part.part, part.parts, self.program.plan.align)
        need = skipped + (length if loop is None or not loop.slots else min(length, loop.slots * loop.unit))
        for span in spans:
            if span.buffer is BufferKind.SCRATCH and need > span.size * layout.scratch_chunk:
                room = f"{span.size} scratch chunks of {layout.scratch_chunk} bytes"
                raise PlanError(f"{self.where(part)}: {need} bytes do not fit into {room}")
        if loop is not None and length > self.compiler.longest.get(loop.unit, 0):
            self.compiler.longest[loop.unit] = length
        return length, skipped

    def where(self, instruction: Instruction) -> str:
        verb = type(instruction).__name__.lower()
        source = f" ({instruction.source})" if instruction.source else ""
        return f"plan {self.program.plan.name!r}, rank {self.rank}, block {self.number}, a {verb}{source}"


def _weight(span: Span) -> float:
    """Bytes that travel for each byte of data: a packet carries as many bytes of flags."""
    return 2.0 if span.packet else 1.0
