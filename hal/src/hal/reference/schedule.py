"""Which task goes next: in turn, at random, or as the caller chooses."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence

from hal.reference.task import Task

Choose = Callable[[Sequence[Task]], Task]
"""Chooses among the tasks that can go on, which are given in the order in which they began."""

Schedule = int | Choose | None
"""None for turns, a seed for a random schedule, or a function that chooses."""

CHANGES = (0.02, 0.2, 0.8)
"""How often a random schedule gives the task it has chosen a new priority: each schedule has one of these rates."""


def chooser(schedule: Schedule) -> Choose:
    """The function that chooses by this schedule."""
    if schedule is None:
        return _in_turn()
    return _at_random(schedule) if isinstance(schedule, int) else schedule


def _in_turn() -> Choose:
    last_turn: dict[Task, int] = {}
    turns = itertools.count(1)

    def choose(ready: Sequence[Task]) -> Task:
        chosen = min(ready, key=lambda task: last_turn.get(task, 0))
        last_turn[chosen] = next(turns)
        return chosen

    return choose


def _at_random(seed: int) -> Choose:
    """Random priorities that change now and then: unlike even dice, they let a task fall far behind or run ahead."""
    generator = random.Random(seed)
    rate = generator.choice(CHANGES)
    priorities: dict[Task, float] = {}

    def choose(ready: Sequence[Task]) -> Task:
        for task in ready:
            priorities.setdefault(task, generator.random())
        chosen = max(ready, key=priorities.__getitem__)
        if generator.random() < rate:
            priorities[chosen] = generator.random()
        return chosen

    return choose
