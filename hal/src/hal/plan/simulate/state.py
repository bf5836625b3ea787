"""What the event loop knows of agents and objects while it runs."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hal.plan.simulate.program import Op, Pattern
from hal.plan.simulate.record import Record


@dataclass(eq=False, slots=True)
class Counter:
    """Signals, or the units of a semaphore: those that have come and those that were taken."""

    come: int = 0
    taken: int = 0
    waiting: deque[int] = field(default_factory=deque)


@dataclass(eq=False, slots=True)
class Meeting:
    """A barrier: who has come to the present meeting, when the last came and what that one had done before."""

    come: int = 0
    agents: list[int] = field(default_factory=list)
    last: float = -1.0
    cause: int = 0


@dataclass(eq=False, slots=True)
class Inbox:
    """Packets that have come to a rank: ranges of bytes, none adjoining another; and who waits for more."""

    ranges: list[tuple[int, int]] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)

    def add(self, start: int, end: int) -> None:
        """Note the arrival of a range."""
        apart = []
        for a, b in self.ranges:
            if b < start or end < a:
                apart.append((a, b))
            else:
                start, end = min(a, start), max(b, end)
        self.ranges = [*apart, (start, end)]

    def has(self, start: int, end: int) -> bool:
        """Whether all of a range has come."""
        return any(a <= start and end <= b for a, b in self.ranges)


@dataclass(eq=False, slots=True)
class Port:
    """The engine of a port: what it has to deliver, and how much of that is acknowledged."""

    agent: int = -1
    queue: deque[tuple[float, int, bool, int]] = field(default_factory=deque)
    """When it was posted, bytes, whether a signal follows, and what posted it."""
    busy: bool = False
    posted: int = 0
    done: int = 0
    waiting: list[tuple[int, int]] = field(default_factory=list)
    """Agents that flush, each with how many deliveries it waits for."""


@dataclass(eq=False, slots=True)
class Agent:
    """An agent that represents its class: a block, or the engine of a port, which runs no code of its own."""

    code: tuple[Op, ...]
    patterns: tuple[Pattern, ...]
    usages: list[tuple[tuple[int, float], ...]]
    """For each pattern what a byte of it uses: classes of resources, and how much of a resource of the class."""
    slots: list[int]
    """The class of the object of each slot."""
    at: float
    """Its clock."""
    record: Record = field(default_factory=Record)
    pc: int = 0
    done: bool = False
    step: int = 0
    """Within a wait for several channels: the one it is at."""
    resumed: bool = False
    """Within a flush: whether it knows its target."""
    target: int = 0
    loop: int = -1
    """Where the loop begins that it is in."""
    unit: int = 0
    ring: int = 0
    """The slots of that loop."""
    piece: int = 0
    cause: int = 0
    via: int = -1
    flow_bytes: int = 0
    start: float = 0.0

    def bytes_now(self, nbytes: int) -> int:
        """How many of so many bytes the present piece has."""
        return nbytes if self.loop < 0 else max(0, min(nbytes - self.piece * self.unit, self.unit))

    def ahead(self) -> int:
        """Where the present piece begins in scratch."""
        if self.loop < 0:
            return 0
        return (self.piece % self.ring if self.ring else self.piece) * self.unit

    def make_port(self) -> None:
        """Keep the record of a port."""
        self.record.starts = array("d")


def usage_of(pattern: Pattern, slots: Sequence[int], shares: Sequence[int]) -> tuple[tuple[int, float], ...]:
    """What a byte of a pattern uses of one resource of each class, with all agents of the class at work."""
    usage: dict[int, float] = {}
    for slot, weight in pattern.usage:
        usage[slots[slot]] = usage.get(slots[slot], 0.0) + weight * shares[slot]
    return tuple(usage.items())
