"""What of a plan's instructions comes before what, and which write each read sees: found by reachability.

A second opinion on the verifier, which shares no code with it: events are the instructions of one launch, each piece of
a loop for itself; for every event the set of all before it is kept whole, as the bits of a number. It is slow.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal.plan.collective import Collective
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
    Wait,
)
from hal.reference.memory import Memory, Place
from hal.reference.operands import Operands, Window

from .oracle import data

Label = tuple[int, int, int, int, int]
"""Rank, block, the instruction (by identity of the original), its piece, and how often it came in it before."""

Range = tuple[int, int, int]
"""A buffer and its bytes [start, end)."""


Word = tuple[int, int]
"""A buffer and the place of 4 bytes in it."""


@dataclass
class Event:
    """An instruction that has happened. `seen` and `passed` are sets of events, as bits."""

    number: int
    label: Label
    seen: int
    """Whose effects are visible to it."""
    passed: int
    """What has happened before it, visible or not."""
    reads: list[Range] = field(default_factory=list)
    writes: list[Range] = field(default_factory=list)
    packets: list[Range] = field(default_factory=list)
    """Where it writes packets."""
    known: dict[Word, frozenset[tuple[int, Word]]] = field(default_factory=dict)
    """For each word that it writes the readings, by event and word, that the packets it was made of know to be over."""


class Order:
    """One launch of a plan in one layout, in some order that its waits allow. `stuck` where there is none."""

    def __init__(self, plan: Plan, count: int, in_place: bool, names: dict[int, int]) -> None:
        self.plan = plan
        self.names = names
        layout = Layout.uniform(plan, count, 4)
        self.memory = Memory(plan, layout, data(plan, Collective.of(plan.collective), count), in_place)
        self.operands = Operands(plan, layout)
        self.ends = other_ends(plan)
        self.events: list[Event] = []
        self.happened: Counter[tuple[int, int, int, int]] = Counter()
        self.signals: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        self.waits: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.released: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        self.acquired: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.ports: defaultdict[tuple[int, int], tuple[int, int]] = defaultdict(lambda: (0, 0))
        self.barriers: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        buffers = [_root(self.memory.whole(r, kind, 1)) for r in range(plan.size) for kind in BufferKind]
        self.buffers = {id(buffer): number for number, buffer in reversed(list(enumerate(buffers)))}
        """The numbers of the buffers, by identity; those that share memory have one."""
        self.behind: dict[Word, frozenset[tuple[int, Word]]] = {}
        """For each packet the readings of which its data were made."""
        self.written = {self.buffers[id(buffer)]: np.full(buffer.nbytes, -1) for buffer in buffers}
        """For each byte the event that wrote it last."""
        self.sources: dict[Label, tuple[Any, ...]] = {}
        """For each reading event the labels of the writes that it sees, by ranges."""
        self.at_end: list[tuple[int, int]] = [(0, 0)] * plan.size
        self.stuck = not self._run()

    # -- running

    def _run(self) -> bool:
        blocks = [(r, b, self._block(r, b)) for r, part in enumerate(self.plan.ranks) for b in range(len(part.blocks))]
        while blocks:
            left = []
            before = len(self.events)
            for rank, block, steps in blocks:
                while True:
                    try:
                        waiting = next(steps)
                    except StopIteration:
                        break
                    if waiting:
                        left.append((rank, block, steps))
                        break
            if len(left) == len(blocks) and len(self.events) == before:
                return False
            blocks = left
        return True

    def _block(self, rank: int, block: int) -> Iterator[bool]:
        """Yields whether it cannot go on."""
        seen = passed = 0  # before the current epoch
        now = 0  # the moves of the current epoch
        for each, piece, window in self._instructions(rank, block):
            label = (rank, block, self.names.get(id(each), id(each)), piece)
            if isinstance(each, Move):
                transfer = self.operands.transfer(rank, each, window, "")
                while not self._arrived(transfer.sources, transfer.length):
                    yield True
                event = self._event(label, seen, passed)
                self._access(event, transfer.sources, transfer.targets, transfer.length)
                now |= 1 << event.number
                continue
            seen, passed, now = seen | now, passed | now, 0
            match each:
                case Wait(channels=channels, relaxed=relaxed):
                    for channel in channels:
                        end = (rank, channel)
                        self.waits[end] += 1
                        mine = self.waits[end]
                        while len(self.signals[end]) < mine:
                            yield True
                        other_seen, other_passed = self.signals[end][mine - 1]
                        seen, passed = seen | (0 if relaxed else other_seen), passed | other_passed
                case Acquire(semaphore=semaphore):
                    end = (rank, semaphore)
                    self.acquired[end] += 1
                    mine = self.acquired[end] - self.plan.ranks[rank].semaphores[semaphore]
                    while len(self.released[end]) < mine:
                        yield True
                    if mine > 0:
                        seen, passed = seen | self.released[end][mine - 1][0], passed | self.released[end][mine - 1][1]
                case Barrier():
                    yield from self._meet(rank, each, seen, passed)
                    group = self._met
                    seen, passed = seen | group[0], passed | group[1]
                case Flush(channel=channel):
                    port = self.ports[rank, channel]
                    seen, passed = seen | port[0], passed | port[1]
            event = self._event(label, seen, passed)
            own = 1 << event.number
            match each:
                case Post(channel=channel):
                    port = self.ports[rank, channel]
                    event.seen, event.passed = seen | port[0], passed | port[1]
                    transfer = self.operands.transfer(rank, each, window, "")
                    self._access(event, transfer.sources, transfer.targets, transfer.length)
                    self.ports[rank, channel] = (event.seen | own, event.passed | own)
                    if each.signal:
                        self._send(rank, channel, *self.ports[rank, channel], relaxed=False)
                    if each.flush:
                        seen, passed = self.ports[rank, channel]
                case Signal(channels=channels, relaxed=relaxed):
                    seen, passed = seen | own, passed | own
                    for channel in channels:
                        port = self.ports[rank, channel] if self._is_port(rank, channel) else (0, 0)
                        self._send(rank, channel, seen | port[0], passed | port[1], relaxed)
                case Release(semaphore=semaphore):
                    seen, passed = seen | own, passed | own
                    before = self.released[rank, semaphore][-1] if self.released[rank, semaphore] else (0, 0)
                    self.released[rank, semaphore].append((seen | before[0], passed | before[1]))
                case _:
                    seen, passed = seen | own, passed | own
            yield False
        end_seen, end_passed = self.at_end[rank]
        ports = [port for (owner, _), port in self.ports.items() if owner == rank]
        for port in [*ports, (seen | now, passed | now)]:
            end_seen, end_passed = end_seen | port[0], end_passed | port[1]
        self.at_end[rank] = (end_seen, end_passed)

    def _instructions(self, rank: int, block: int) -> Iterator[tuple[Instruction, int, Window | None]]:
        for each in self.plan.ranks[rank].blocks[block]:
            if not isinstance(each, Loop):
                yield each, 0, None
                continue
            for piece in range(self.operands.pieces[each.unit]):
                for inner in each.body:
                    yield inner, piece, Window(each, piece)

    def _event(self, place: tuple[int, int, int, int], seen: int, passed: int) -> Event:
        # one instruction may stand in a block twice
        label = (*place, self.happened[place])
        self.happened[place] += 1
        self.events.append(Event(len(self.events), label, seen, passed))
        return self.events[-1]

    def _is_port(self, rank: int, channel: int) -> bool:
        return self.plan.ranks[rank].channels[channel].kind is ChannelKind.PORT

    def _send(self, rank: int, channel: int, seen: int, passed: int, relaxed: bool) -> None:
        queue = self.signals[self.ends[rank, channel]]
        before = queue[-1] if queue else (0, 0)
        queue.append((before[0] | (0 if relaxed else seen), before[1] | passed))

    def _meet(self, rank: int, barrier: Barrier, seen: int, passed: int) -> Iterator[bool]:
        arrived = self.barriers[rank, barrier.id]
        arrived.append((seen, passed))
        first = (len(arrived) - 1) // barrier.blocks * barrier.blocks
        while len(arrived) < first + barrier.blocks:
            yield True
        group = arrived[first : first + barrier.blocks]
        every = [0, 0]
        for each in group:
            every = [every[0] | each[0], every[1] | each[1]]
        self._met = tuple(every)

    # -- memory

    def _range(self, place: Place, length: int) -> Range:
        whole = self.memory.whole(place.rank, place.buffer, 1)
        root = _root(whole)
        key = self.buffers[id(root)]
        shift = whole.__array_interface__["data"][0] - root.__array_interface__["data"][0]
        start = shift + place.offset
        return key, start, start + length * (2 if place.packet else 1)

    def _arrived(self, sources: tuple[Place, ...], length: int) -> bool:
        for place in sources:
            if place.packet:
                key, start, end = self._range(place, length)
                if (self.written[key][start:end] < 0).any():
                    return False
        return True

    def _access(self, event: Event, sources: tuple[Place, ...], targets: tuple[Place, ...], length: int) -> None:
        if not length:
            return
        if any(place.packet for place in (*sources, *targets)):
            self._behind(event, sources, targets, length)
        found: list[Any] = []
        for place in sources:
            key, start, end = self._range(place, length)
            found.append(self._seen(place, key, start, end))
            if not place.packet:
                event.reads.append((key, start, end))
        self.sources[event.label] = tuple(found)
        for place in targets:
            key, start, end = self._range(place, length)
            self.written[key][start:end] = event.number
            (event.packets if place.packet else event.writes).append((key, start, end))

    def _behind(self, event: Event, sources: tuple[Place, ...], targets: tuple[Place, ...], length: int) -> None:
        read = [(place.packet, *self._range(place, length)) for place in sources]
        written = [(place.packet, *self._range(place, length)) for place in targets]
        for step in range(0, length, 4):
            past: set[tuple[int, Word]] = set()
            for packet, key, start, _ in read:
                word = (key, start + step * (2 if packet else 1))
                past |= self.behind.get(word, frozenset()) if packet else {(event.number, word)}
            for packet, key, start, _ in written:
                if packet:
                    self.behind[key, start + 2 * step] = frozenset(past)
                else:
                    event.known[key, start + step] = frozenset(past)

    def _seen(self, place: Place, key: int, start: int, end: int) -> Any:
        """Whose bytes a range holds: for each stretch its length, and its place in what a write wrote, or in memory."""
        writers = self.written[key][start:end]
        cuts = [0, *(np.flatnonzero(np.diff(writers)) + 1).tolist(), end - start]
        seen: list[Any] = []
        for a, b in itertools.pairwise(cuts):
            writer = int(writers[a])
            if writer < 0:
                seen.append((b - a, (key, start + a)))
            else:
                event = self.events[writer]
                (packet, first), *_ = (
                    (kind, first)
                    for kind, ranges in ((True, event.packets), (False, event.writes))
                    for k, first, last in ranges
                    if k == key and first <= start + a < last
                )
                seen.append((b - a, (event.label, packet is place.packet, start + a - first)))
        return tuple(seen)

    # -- what it says

    def outputs(self) -> tuple[Any, ...]:
        """Whose bytes the outputs hold at the end."""
        found = []
        for rank in range(self.plan.size):
            whole = self.memory.whole(rank, BufferKind.OUTPUT, 1)
            if whole.nbytes:
                place = Place(rank, BufferKind.OUTPUT, 0)
                found.append(self._seen(place, *self._range(place, whole.nbytes)))
        return tuple(found)

    def meeting(self) -> bool:
        """Whether no rank ends the launch before all have begun it, as a barrier promises."""
        begun = [0] * self.plan.size
        for event in self.events:
            begun[event.label[0]] |= 1 << event.number
        return all(passed & other for _, passed in self.at_end for other in begun)

    def ordered(self, packets: bool = True) -> bool:
        """Whether any two accesses of which one writes are ordered, and visible to each other where that is needed.

        With `packets` a word may also be overwritten by what was made of it, sent in packets and come back.
        """
        by_buffer: defaultdict[int, list[tuple[int, int, Event, bool]]] = defaultdict(list)
        for event in self.events:
            for ranges, writes in ((event.reads, False), (event.writes, True)):
                for key, start, end in ranges:
                    by_buffer[key].append((start, end, event, writes))
        for key, accesses in by_buffer.items():
            accesses.sort(key=lambda a: (a[0], a[2].number))
            for i, (_, end, event, writes) in enumerate(accesses):
                for start, last, other, others in accesses[i + 1 :]:
                    if start >= end:
                        break
                    if not (writes or others) or event is other or _before(event, writes, other, others):
                        continue
                    if not (packets and _known(event, writes, other, others, (key, start, min(end, last)))):
                        return False
        return self._inside_launches()

    def _inside_launches(self) -> bool:
        """Whether every access to another rank's input or output lies between its begin and its end of the launch."""
        owners = {}
        for rank in range(self.plan.size):
            for kind in (BufferKind.INPUT, BufferKind.OUTPUT):
                if self.memory.whole(rank, kind, 1).nbytes:
                    owners[self._range(Place(rank, kind, 0), 0)[0]] = rank
        mine = [0] * self.plan.size
        for event in self.events:
            mine[event.label[0]] |= 1 << event.number
        for event in self.events:
            for key, _, _ in (*event.reads, *event.writes):
                rank = owners.get(key, event.label[0])
                if rank != event.label[0] and not (
                    event.passed & mine[rank] and self.at_end[rank][1] >> event.number & 1
                ):
                    return False
        return True


def _root(array: NDArray[Any]) -> NDArray[Any]:
    """The array whose memory it is a part of."""
    return array.base if isinstance(array.base, np.ndarray) else array


def _before(one: Event, one_writes: bool, two: Event, two_writes: bool) -> bool:
    first, second, writes = (one, two, one_writes) if one.number < two.number else (two, one, two_writes)
    known = second.seen if writes else second.passed
    return bool(known >> first.number & 1)


def _known(one: Event, one_writes: bool, two: Event, two_writes: bool, overlap: Range) -> bool:
    """Whether the later event writes nothing in a range but what it knows the earlier one to have read."""
    first, second, writes = (one, two, one_writes) if one.number < two.number else (two, one, two_writes)
    key, start, end = overlap
    words = [(key, place) for place in range(start, end, 4)]
    return not writes and all((first.number, word) in second.known.get(word, ()) for word in words)
