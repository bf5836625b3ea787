"""What a plan does under many random schedules, against NumPy.

A plan is broken where any run deadlocks, fails, gives another result than the collective promises, or changes its input
in a call that is not in place. Data are such that no contribution can be taken for another, nor a sum for a wrong one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal.interface.errors import PlanError
from hal.plan.collective import Collective
from hal.plan.lower import walk
from hal.plan.model import Loop, Move, Plan
from hal.reference import run
from hal.reference.schedule import chooser
from hal.reference.task import Task

Array = NDArray[Any]

LAUNCHES = 3
MOST_PIECES = 3


def broken(plan: Plan, schedules: int, seed: int = 0) -> str | None:
    """How some of `schedules` random runs went wrong; None where all were right."""
    chance = random.Random(seed)
    cases = list(_cases(plan))
    chance.shuffle(cases)
    for number in range(schedules):
        count, in_place, op = cases[number % len(cases)]
        schedule = chance.randrange(1 << 30)
        what = f"count {count}, {'in place' if in_place else 'not in place'}, {op}, schedule {schedule}"
        problem = _run(plan, count, in_place, op, schedule)
        if problem:
            return f"{what}: {problem}"
    return None


def counts(plan: Plan) -> list[int]:
    """Counts of 4-byte elements: odd ones, one that leaves chunks empty, and such that loops use rings again.

    One has equal chunks: where one chunk has a piece more than others, its signals come to the help of these.
    """
    loops = [i for rank in plan.ranks for block in rank.blocks for i in walk(block) if isinstance(i, Loop)]
    ring = max((loop.unit * (loop.slots + 2) for loop in loops), default=0) // 4
    if plan.even:
        step = plan.split * plan.align // 4
        return [step, 3 * step, max(2, -(-ring * plan.split // step)) * step]
    return [1, plan.split * max(ring, 16), plan.split * max(ring, 16) + 5, plan.split * max(2 * ring, 40) - 3]


def _cases(plan: Plan) -> Iterator[tuple[int, bool, str]]:
    named = {
        i.op.label
        for rank in plan.ranks
        for block in rank.blocks
        for i in walk(block)
        if isinstance(i, Move) and i.op is not None
    }
    reduces = Collective.of(plan.collective).reduces
    ops = sorted(named) if reduces and named else ["sum", "avg"] if reduces else ["sum"]
    sharings = [True] if plan.aliased else [False, True] if plan.in_place else [False]
    for count in counts(plan):
        for in_place in sharings:
            for op in ops:
                yield count, in_place, op


def _run(plan: Plan, count: int, in_place: bool, op: str, schedule: int) -> str | None:
    collective = Collective.of(plan.collective)
    inputs = data(plan, collective, count)
    watch = _Barrier(schedule, plan.size) if collective is Collective.BARRIER else None
    try:
        result = run(
            plan,
            inputs,
            op=op,
            in_place=in_place,
            count=count,
            schedule=watch or chooser(schedule),
            max_pieces=1 + schedule % MOST_PIECES,
            launches=LAUNCHES,
        )
    except (PlanError, ValueError, IndexError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    if watch is not None and watch.problem:
        return watch.problem
    for rank, wanted in enumerate(expected(plan, collective, inputs, count, op)):
        for launch, outputs in enumerate(result.launches):
            if wanted is not None and not np.array_equal(outputs[rank], wanted):
                at = int(np.flatnonzero(outputs[rank] != wanted)[0])
                return f"launch {launch + 1}, rank {rank}, element {at} is {outputs[rank][at]}, not {wanted[at]}"
    if not in_place and any(not np.array_equal(a, b) for a, b in zip(inputs, result.inputs, strict=True)):
        return "an input was changed"
    return None


def data(plan: Plan, collective: Collective, count: int) -> list[Array]:
    """Inputs of random 20-bit numbers."""
    made = []
    for rank in range(plan.size):
        length = collective.blocks(plan.size, rank, plan.root)[0] * count
        made.append(np.random.default_rng(1 + rank).integers(1, 1 << 20, length).astype(np.int32))
    return made


def expected(
    plan: Plan, collective: Collective, inputs: Sequence[Array], count: int, op: str
) -> Iterator[Array | None]:
    """What each rank's output has to be; None where it has none."""

    def total(parts: Sequence[Array]) -> Array:
        if op == "max":
            return np.maximum.reduce(parts)
        found = np.add.reduce(parts)
        return found // plan.size if op == "avg" else found

    for rank in range(plan.size):
        own = slice(rank * count, (rank + 1) * count)
        at_root = rank == plan.root
        match collective:
            case Collective.ALL_REDUCE:
                yield total(inputs)
            case Collective.REDUCE:
                yield total(inputs) if at_root else None
            case Collective.REDUCE_SCATTER:
                yield total([x[own] for x in inputs])
            case Collective.ALL_GATHER:
                yield np.concatenate(inputs)
            case Collective.GATHER:
                yield np.concatenate(inputs) if at_root else None
            case Collective.ALL_TO_ALL:
                yield np.concatenate([x[own] for x in inputs])
            case Collective.SCATTER:
                yield inputs[plan.root or 0][own]
            case Collective.BROADCAST:
                yield inputs[plan.root or 0]
            case Collective.SEND_RECV:
                yield inputs[0] if rank == 1 else None
            case _:
                yield None


class _Barrier:
    """A random schedule that sees whether a rank leaves a barrier before all have entered it."""

    def __init__(self, seed: int, ranks: int) -> None:
        self.choose = chooser(seed)
        self.turns = [0] * ranks
        self.problem: str | None = None

    def __call__(self, ready: Sequence[Task]) -> Task:
        task = self.choose(ready)
        if task.kind == "launcher":
            # its turns: once to the start, then to the begin and to the end of every launch
            self.turns[task.rank] += 1
            turn = self.turns[task.rank]
            if turn > 1 and turn % 2 and min(self.turns) < turn - 1:
                late = self.turns.index(min(self.turns))
                self.problem = f"rank {task.rank} left the barrier before rank {late} entered it"
        return task
