"""Which agents behave alike, so that one of them is run for all.

Two agents that do the same to objects that are alike, and two objects that the same number of like agents use in the
same way, can never be told apart: what happens to one at a time happens to the other at that time, since the model
has neither chance nor any order among equals. Colour refinement (Weisfeiler and Leman's algorithm in one dimension)
finds the coarsest such classes. The run of one agent a class is therefore exact, not an approximation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from hal.plan.simulate.program import Program


@dataclass(frozen=True)
class Classes:
    """The classes of agents and of objects, each with its members in their order; the first represents the class."""

    agents: list[list[int]]
    objects: list[list[int]]
    of_agent: list[int]
    of_object: list[int]

    def share(self, agents: int, objects: int) -> int:
        """To how many agents of one class the same object belongs, by one of their slots."""
        return len(self.agents[agents]) // len(self.objects[objects])


def classify(program: Program, merge: bool = True) -> Classes:
    """The coarsest classes; without `merge` each agent and object by itself."""
    if not merge:
        agents, objects = list(range(len(program.agents))), list(range(len(program.objects)))
        return Classes([[a] for a in agents], [[o] for o in objects], agents, objects)
    shapes = {id(agent.shape): agent.shape for agent in program.agents}
    numbers = {key: i for i, key in enumerate(shapes)}
    agents = [numbers[id(agent.shape)] for agent in program.agents]
    objects = _numbered(program.objects)
    classes = len(set(agents)) + len(set(objects))
    while True:
        uses: list[Counter[tuple[int, int]]] = [Counter() for _ in program.objects]
        for agent, colour in zip(program.agents, agents, strict=True):
            for slot, number in enumerate(agent.slots):
                uses[number][colour, slot] += 1
        objects = _numbered((old, frozenset(use.items())) for old, use in zip(objects, uses, strict=True))
        agents = _numbered(
            (old, tuple(objects[number] for number in agent.slots))
            for old, agent in zip(agents, program.agents, strict=True)
        )
        found = len(set(agents)) + len(set(objects))
        if found == classes:
            return Classes(_members(agents), _members(objects), agents, objects)
        classes = found


def _numbered(values: Iterable[Hashable]) -> list[int]:
    known: dict[Hashable, int] = {}
    return [known.setdefault(value, len(known)) for value in values]


def _members(colours: list[int]) -> list[list[int]]:
    members: list[list[int]] = [[] for _ in range(max(colours, default=-1) + 1)]
    for number, colour in enumerate(colours):
        members[colour].append(number)
    return members
