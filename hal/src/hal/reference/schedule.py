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
    return AtRandom(schedule) if isinstance(schedule, int) else schedule


def _in_turn() -> Choose:
    last_turn: dict[Task, int] = {}
    turns = itertools.count(1)

    def choose(ready: Sequence[Task]) -> Task:
        chosen = min(ready, key=lambda task: last_turn.get(task, 0))
        last_turn[chosen] = next(turns)
        return chosen

    return choose


class AtRandom:
    """Random priorities that change now and then: unlike even dice, they let a task fall far behind or run ahead."""

    def __init__(self, seed: int) -> None:
        self._generator = random.Random(seed)
        self._rate = self._generator.choice(CHANGES)
        self._priorities: dict[Task, float] = {}

    def __call__(self, ready: Sequence[Task]) -> Task:
        """Choose among tasks of which all can go on."""
        return self._chosen(self._ordered(ready)[0])

    def pick(self, tasks: Sequence[Task]) -> Task | None:
        """Choose among tasks of which some can go on; None where none can. Few need to be asked for that."""
        found = next((task for task in self._ordered(tasks) if task.ready()), None)
        return None if found is None else self._chosen(found)

    def _ordered(self, tasks: Sequence[Task]) -> list[Task]:
        for task in tasks:
            if task not in self._priorities:
                self._priorities[task] = self._generator.random()
        return sorted(tasks, key=self._priorities.__getitem__, reverse=True)

    def _chosen(self, task: Task) -> Task:
        if self._generator.random() < self._rate:
            self._priorities[task] = self._generator.random()
        return task
