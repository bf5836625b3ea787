"""What orders the blocks of a plan that goes through its instructions again and again, piece after piece."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hal.interface.errors import PlanError
from hal.plan.ends import End, other_ends
from hal.plan.model import Acquire, Barrier, Instruction, Plan, Post, Release, Signal, Wait

Block = tuple[int, int]
"""A rank and the number of its block."""
Bodies = Mapping[Block, Sequence[Instruction]]
Clock = NDArray[np.int32]
"""For each block, how many of its instructions are over and seen to be."""


class Order:
    """Vector clocks of the blocks of `plan` over `pieces` pieces, each running all instructions of `bodies` once.

    Every channel is signalled by one block and waited on by one block, and so is every semaphore: the n-th signal of a
    piece then meets the n-th wait of that piece, whatever the schedule. Since all pieces are alike, what holds between
    the first and the last of these holds between any two as far apart. `PlanError` where the blocks do not come to an
    end.
    """

    def __init__(self, plan: Plan, bodies: Bodies, pieces: int) -> None:
        self._plan = plan
        self._bodies = bodies
        self._pieces = pieces
        self._numbers = {block: number for number, block in enumerate(bodies)}
        self._clocks = {block: np.zeros(len(bodies), np.int32) for block in bodies}
        self._others = other_ends(plan)
        self._signals: defaultdict[End, list[Clock]] = defaultdict(list)
        self._waits: defaultdict[End, int] = defaultdict(int)
        self._releases: defaultdict[End, list[Clock]] = defaultdict(list)
        self._acquires: defaultdict[End, int] = defaultdict(int)
        self._meetings: defaultdict[End, list[Clock]] = defaultdict(list)
        self._met: dict[tuple[Block, int], int] = {}
        self._last: dict[Block, list[Clock]] = {}
        self._run()

    def before(self, earlier: Block, index: int, later: Block, at: int) -> bool:
        """Whether `earlier` is done with its instruction `index` of the first piece when `later` begins its
        instruction `at` of the last piece."""
        return bool(self._last[later][at][self._numbers[earlier]] > index)

    def _run(self) -> None:
        places = dict.fromkeys(self._bodies, 0)
        waiting = deque(self._bodies)
        idle = 0
        while waiting:
            block = waiting.popleft()
            body = self._bodies[block]
            started = places[block]
            while places[block] < len(body) * self._pieces and self._step(block, places[block]):
                places[block] += 1
            idle = 0 if places[block] > started else idle + 1
            if places[block] < len(body) * self._pieces:
                waiting.append(block)
                if idle > len(waiting):
                    rank, number = block
                    raise PlanError(
                        f"plan {self._plan.name!r} is in deadlock: rank {rank}, block {number} waits in vain at "
                        f"instruction {places[block] % len(body)}"
                    )

    def _step(self, block: Block, place: int) -> bool:
        """Run an instruction, the `place`-th of all pieces; false where it has to wait."""
        body, clock, own = self._bodies[block], self._clocks[block], self._numbers[block]
        instruction = body[place % len(body)]
        if not self._may_go_on(block, place, instruction):
            return False
        if place >= len(body) * (self._pieces - 1):
            self._last.setdefault(block, []).append(clock.copy())
        self._send(block, instruction, clock)
        clock[own] = place + 1
        return True

    def _send(self, block: Block, instruction: Instruction, clock: Clock) -> None:
        rank = block[0]
        if isinstance(instruction, Signal):
            known = np.zeros_like(clock) if instruction.relaxed else clock.copy()
            for channel in instruction.channels:
                self._signals[self._others[rank, channel]].append(known)
        elif isinstance(instruction, Post) and instruction.signal:
            # it follows the data posted, and tells nothing of what else the block has done
            self._signals[self._others[rank, instruction.channel]].append(np.zeros_like(clock))
        elif isinstance(instruction, Release):
            self._releases[rank, instruction.semaphore].append(clock.copy())

    def _may_go_on(self, block: Block, place: int, instruction: Instruction) -> bool:
        rank, clock = block[0], self._clocks[block]
        match instruction:
            case Wait(channels=channels):
                wanted = dict.fromkeys(channels, 0)
                for channel in channels:
                    wanted[channel] += 1
                ends = {(rank, channel): self._waits[rank, channel] + n for channel, n in wanted.items()}
                if any(len(self._signals[end]) < n for end, n in ends.items()):
                    return False
                for end, n in ends.items():
                    self._waits[end] = n
                    if not instruction.relaxed:
                        np.maximum(clock, self._signals[end][n - 1], out=clock)
            case Acquire(semaphore=semaphore):
                end = rank, semaphore
                release = self._acquires[end] - self._plan.ranks[rank].semaphores[semaphore]
                if release >= len(self._releases[end]):
                    return False
                self._acquires[end] += 1
                if release >= 0:
                    np.maximum(clock, self._releases[end][release], out=clock)
            case Barrier(id=number, blocks=blocks):
                meetings = self._meetings[rank, number]
                if (block, place) not in self._met:
                    self._met[block, place] = len(meetings)
                    meetings.append(clock.copy())
                first = self._met[block, place] // blocks * blocks
                if len(meetings) < first + blocks:
                    return False
                for met in meetings[first : first + blocks]:
                    np.maximum(clock, met, out=clock)
            case _:
                pass
        return True
