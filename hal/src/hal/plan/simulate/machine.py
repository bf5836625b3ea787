"""The event loop: runs one agent of every class in virtual time.

An agent has a clock of its own and runs until it has to wait for something: for the end of a flow, for a signal, for
another block. What it does to others takes effect by an event at that time. Events of one time are all handled before
bandwidth is shared anew.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from math import inf
from typing import Any

from hal.interface.errors import UsageError
from hal.plan.simulate.ports import Ports
from hal.plan.simulate.program import (
    ACQUIRE,
    BARRIER,
    END,
    LOOP,
    MOVE,
    RELEASE,
    SIGNAL,
    SYNC,
    WAIT,
    Op,
    Program,
)
from hal.plan.simulate.record import reference
from hal.plan.simulate.sharing import Sharing
from hal.plan.simulate.state import Agent, Counter, Inbox, Meeting, Port, usage_of
from hal.plan.simulate.symmetry import Classes

MOST_STEPS = 40_000_000
"""Instructions that are run at most; each takes 20 bytes of memory."""

_GO, _START, _END, _SIGNAL, _PACKETS, _POSTED, _DELIVERED = range(7)

RESOURCES = ("link", "memory", "processors")


class Machine:
    """One run of a program, of whose agents and objects one of each class is there.

    `UsageError` where there are more instructions than `MOST_STEPS`.
    """

    def __init__(self, program: Program, classes: Classes) -> None:
        self.program = program
        self.classes = classes
        self.compute = program.topology.compute
        self.pieces = program.pieces
        self.objects: list[Counter | Meeting | Inbox | Port | None] = []
        """The state of each class of objects; None for resources."""
        capacities = []
        for members in classes.objects:
            kind = program.objects[members[0]]
            self.objects.append(_state(kind))
            capacities.append(kind[1] if isinstance(kind, tuple) and kind[0] in RESOURCES else inf)
        self.carried = [0.0] * len(capacities)
        """How much each class of resources has carried, a resource: bytes, or seconds of processors."""
        self.sharing = Sharing(capacities)
        self.ports = Ports(self)
        self.agents = [self._agent(number) for number in range(len(classes.agents))]
        self._heap: list[tuple[Any, ...]] = []
        self._pushed = 0
        self._check_steps()

    def run(self) -> None:
        """Run until nothing more happens."""
        for number, agent in enumerate(self.agents):
            if agent.record.starts is None:
                self._go(number, agent.at)
        self._settle(self.compute.launch)
        heap = self._heap
        while heap:
            now = heap[0][0]
            while heap and heap[0][0] == now:
                self._handle(*heapq.heappop(heap))
            self._settle(now)

    def resume(self, number: int, now: float, cause: int, via: int) -> None:
        """Let an agent go on that waited for an object of class `via`, after what `cause` did."""
        agent = self.agents[number]
        if now > agent.at:
            agent.at, agent.cause, agent.via = now, cause, via
        self._go(number, now)

    def ended(self, agent: Agent, end: float) -> None:
        """Note the end of an instruction, and go to the next."""
        agent.record.add(end, agent.cause, agent.via)
        agent.cause, agent.via = 0, -1
        agent.at = end
        agent.step = 0
        agent.resumed = False
        agent.pc += 1
        agent.done = agent.pc == len(agent.code)

    def carry(self, usage: Sequence[tuple[int, float]], nbytes: int) -> None:
        """Count what resources have carried."""
        for resource, weight in usage:
            self.carried[resource] += weight * nbytes

    def push_signal(self, at: float, sender: int, counter: int, cause: int) -> None:
        """Let a signal of an agent, or a unit that it releases, come at a time."""
        self._push(at, _SIGNAL, counter, self.classes.share(sender, counter), cause)

    def push_posted(self, at: float, port: int) -> None:
        """Let a port look for work at a time."""
        self._push(at, _POSTED, port)

    def push_delivered(self, at: float, port: int, cause: int) -> None:
        """Let the acknowledgement of a delivery come at a time."""
        self._push(at, _DELIVERED, port, cause)

    def _agent(self, number: int) -> Agent:
        agent = self.program.agents[self.classes.agents[number][0]]
        slots = [self.classes.of_object[o] for o in agent.slots]
        shares = [self.classes.share(number, slot) for slot in slots]
        usages = [usage_of(pattern, slots, shares) for pattern in agent.shape.patterns]
        made = Agent(agent.shape.code, agent.shape.patterns, usages, slots, self.compute.launch)
        made.done = not made.code
        if agent.shape.kind == "port":
            made.make_port()
            port = self.objects[slots[0]]
            assert isinstance(port, Port)
            port.agent = number
        return made

    def _check_steps(self) -> None:
        steps = sum(_steps(agent.code, self.pieces) for agent in self.agents)
        if steps > MOST_STEPS:
            raise UsageError(
                f"plan {self.program.plan.name!r} takes {steps} instructions at this size, in the {len(self.agents)} "
                f"of {len(self.program.agents)} blocks that do not behave alike: allowed are {MOST_STEPS}; choose a "
                "smaller size, one that is cut evenly, or a more regular topology"
            )

    def _push(self, at: float, *event: Any) -> None:
        self._pushed += 1
        heapq.heappush(self._heap, (at, self._pushed, *event))

    def _settle(self, now: float) -> None:
        for end, number, version in self.sharing.settle(now):
            self._push(end, _END, number, version)

    def _handle(self, now: float, order: int, kind: int, about: int, *details: Any) -> None:
        if kind == _END:
            if self.sharing.is_current(about, *details):
                self.sharing.finish(about)
                self._flow_ended(about, now)
        elif kind == _START:
            which, nbytes = details
            self._start(about, which, nbytes, now)
        elif kind == _SIGNAL:
            counter, (number, cause) = self.objects[about], details
            assert isinstance(counter, Counter)
            counter.come += number
            while counter.waiting and counter.come > counter.taken:
                self.resume(counter.waiting.popleft(), now, cause, about)
        elif kind == _PACKETS:
            inbox, (start, end, cause) = self.objects[about], details
            assert isinstance(inbox, Inbox)
            inbox.add(start, end)
            waiting, inbox.waiting = inbox.waiting, []
            for agent in waiting:
                self.resume(agent, now, cause, about)
        elif kind == _POSTED:
            self.ports.deliver(about, now)
        elif kind == _DELIVERED:
            self.ports.delivered(about, now, *details)
        else:
            self._go(about, now)

    def _go(self, number: int, now: float) -> None:
        """Run an agent until it waits, or to its end. Its clock is at `now` or later."""
        agent = self.agents[number]
        overhead = self.compute.overhead
        while not agent.done:
            op = agent.code[agent.pc]
            kind = op[0]
            if kind == MOVE:
                if not self._move(number, agent, op, now):
                    return
            elif kind == SIGNAL:
                self._signal(number, agent, op)
            elif kind == WAIT:
                if not self._take(number, agent, op[1]):
                    return
                self.ended(agent, agent.at + overhead + self.compute.wait * len(op[1]))
            elif kind == END:
                self._next_piece(agent, agent.piece + 1)
            elif kind == LOOP:
                _, agent.unit, agent.ring, _ = op
                agent.loop = agent.pc
                self._next_piece(agent, 0)
            elif kind == SYNC:
                self.ended(agent, agent.at + overhead + self.compute.sync)
            elif kind == BARRIER:
                if not self._meet(number, agent, op, now):
                    return
            elif kind == ACQUIRE:
                if not self._take(number, agent, (op[1],)):
                    return
                self.ended(agent, agent.at + overhead)
            elif kind == RELEASE:
                self.ended(agent, agent.at + overhead)
                self.push_signal(agent.at, number, agent.slots[op[1]], reference(number, agent.record))
            elif not self.ports.instruction(number, agent, op, agent.bytes_now(op[2]) if len(op) > 2 else 0):
                return

    def _next_piece(self, agent: Agent, piece: int) -> None:
        if piece < self.pieces[agent.unit]:
            agent.piece = piece
            agent.pc = agent.loop + 1
        else:
            agent.pc = agent.loop + agent.code[agent.loop][3] + 2
            agent.loop = -1
            agent.done = agent.pc == len(agent.code)

    def _move(self, number: int, agent: Agent, op: Op, now: float) -> bool:
        _, which, whole, reads, _ = op
        nbytes = agent.bytes_now(whole)
        if not nbytes:
            self.ended(agent, agent.at + self.compute.overhead)
            return True
        first = agent.ahead()
        for slot, offset in reads:
            inbox = self.objects[agent.slots[slot]]
            assert isinstance(inbox, Inbox)
            if not inbox.has(offset + first, offset + first + nbytes):
                inbox.waiting.append(number)
                return False
        agent.flow_bytes = nbytes
        start = agent.at + self.compute.overhead + agent.patterns[which].lead
        if not agent.usages[which] and not agent.patterns[which].seconds:
            self._written(number, agent, start)
            return True
        if start > now:
            self._push(start, _START, number, which, nbytes)
        else:
            self._start(number, which, nbytes, now)
        return False

    def _start(self, number: int, which: int, nbytes: int, now: float) -> None:
        agent = self.agents[number]
        seconds = agent.patterns[which].seconds
        self.sharing.start(number, agent.usages[which], 1 / seconds if seconds else inf, nbytes, now)

    def _flow_ended(self, number: int, now: float) -> None:
        agent = self.agents[number]
        if agent.record.starts is None:
            self._written(number, agent, now)
            self._go(number, now)
        else:
            self.ports.handed_over(number, agent, now)

    def _written(self, number: int, agent: Agent, end: float) -> None:
        """A move has ended; the packets among what it wrote arrive after the latency."""
        _, which, _, _, writes = agent.code[agent.pc]
        self.carry(agent.usages[which], agent.flow_bytes)
        arrival, first = end + agent.patterns[which].latency, agent.ahead()
        self.ended(agent, end)
        cause = reference(number, agent.record)
        for slot, offset in writes:
            start = offset + first
            self._push(arrival, _PACKETS, agent.slots[slot], start, start + agent.flow_bytes, cause)

    def _signal(self, number: int, agent: Agent, op: Op) -> None:
        _, direct, ports = op
        self.ended(agent, agent.at + self.compute.overhead + self.compute.signal * (len(direct) + len(ports)))
        cause = reference(number, agent.record)
        for slot, latency in direct:
            self.push_signal(agent.at + latency, number, agent.slots[slot], cause)
        for slot in ports:
            self.ports.post(agent.slots[slot], agent.at, 0, True, cause)

    def _take(self, number: int, agent: Agent, slots: Sequence[int]) -> bool:
        """Take one of each counter, in order; False while one of them has none."""
        while agent.step < len(slots):
            counter = self.objects[agent.slots[slots[agent.step]]]
            assert isinstance(counter, Counter)
            if counter.come <= counter.taken:
                counter.waiting.append(number)
                return False
            counter.taken += 1
            agent.step += 1
        return True

    def _meet(self, number: int, agent: Agent, op: Op, now: float) -> bool:
        _, slot, blocks = op
        where = agent.slots[slot]
        meeting = self.objects[where]
        assert isinstance(meeting, Meeting)
        meeting.come += self.classes.share(number, where)
        meeting.agents.append(number)
        if agent.at > meeting.last:
            meeting.last, meeting.cause = agent.at, reference(number, agent.record)
        if meeting.come < blocks:
            return False
        self.objects[where] = Meeting()
        for member in meeting.agents:
            other = self.agents[member]
            if meeting.last > other.at:
                other.cause, other.via = meeting.cause, where
            self.ended(other, meeting.last + self.compute.overhead + self.compute.barrier)
            if member != number:
                self._push(now, _GO, member)
        return True


def _state(kind: object) -> Counter | Meeting | Inbox | Port | None:
    """The state of an object that is known to be of this kind."""
    name, value = kind if isinstance(kind, tuple) else (kind, 0)
    if name in RESOURCES:
        return None
    match name:
        case "barrier":
            return Meeting()
        case "packets":
            return Inbox()
        case "port":
            return Port()
        case _:
            return Counter(come=value)


def _steps(code: Sequence[Op], pieces: dict[int, int]) -> int:
    total, times = 0, 1
    for op in code:
        if op[0] == LOOP:
            times = pieces[op[1]]
        elif op[0] == END:
            times = 1
        else:
            total += times
    return total
