"""The critical path: the chain of instructions of which each waited for the one before, back from the last."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from hal.plan.simulate.machine import Machine
from hal.plan.simulate.places import Places
from hal.plan.simulate.record import Record, dereference
from hal.plan.text import Path, path_text


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction on the critical path, and its part of the time: from the end of the step before to its own.

    `waited_for` says what it began after: the instruction before it in its block, or what another one did, whose way
    here is then part of this step.
    """

    rank: int
    block: int
    path: Path
    text: str
    start: float
    end: float
    waited_for: str
    port: int | None = None

    @property
    def seconds(self) -> float:
        """Its part of the time."""
        return self.end - self.start


def critical_path(machine: Machine, places: Places) -> list[Step]:
    """The steps from the beginning of the launch to its end."""
    return _Walk(machine, places).steps()


class _Walk:
    def __init__(self, machine: Machine, places: Places) -> None:
        self.machine = machine
        self.places = places
        self.program = machine.program
        self.of_agent = machine.classes.of_agent
        users: defaultdict[int, list[int]] = defaultdict(list)
        for number, agent in enumerate(self.program.agents):
            for slot in agent.slots:
                users[slot].append(number)
        self.users = users

    def steps(self) -> list[Step]:
        """From the last instruction back to the beginning, then turned round."""
        end, number, index = self.last()
        found: list[Step] = []
        while index >= 0:
            before, at, waited_for = self.before(number, index)
            start = self.end_of(before, at)
            place = self.places.at(self.program.agents[number], self.record(number), index)
            found.append(
                Step(place.rank, place.block, place.path, place.text, start, end, waited_for, place.port)
            )  # fmt: skip
            number, index, end = before, at, start
        launch = self.machine.compute.launch
        if launch:
            found.append(Step(self.program.agents[number].rank, 0, (), "launch", 0.0, launch, "nothing"))
        return found[::-1]

    def last(self) -> tuple[float, int, int]:
        """What ends the launch: its time, the agent and the place in its record (-1 where nothing runs at all)."""
        end, kind, index = self.machine.compute.launch, 0, -1
        for number, agent in enumerate(self.machine.agents):
            ends = agent.record.ends
            if ends and (agent.record.starts is None) and ends[-1] > end:
                end, kind, index = ends[-1], number, len(ends) - 1
        ports = self.machine.ports
        if ports.landed > end:
            end, kind, index = ports.landed, ports.lander, ports.last
        return end, self.machine.classes.agents[kind][0] if self.machine.agents else 0, index

    def record(self, number: int) -> Record:
        return self.machine.agents[self.of_agent[number]].record

    def end_of(self, number: int, index: int) -> float:
        return self.record(number).ends[index] if index >= 0 else self.machine.compute.launch

    def before(self, number: int, index: int) -> tuple[int, int, str]:
        """What an instruction began after: the agent, the place in its record, and that in words."""
        record = self.record(number)
        cause, via = record.causes[index], record.vias[index]
        if not cause:
            return number, index - 1, "the one before it" if index else "the launch"
        kind, at = dereference(cause)
        of_object = self.machine.classes.of_object
        shared = [o for o in self.program.agents[number].slots if of_object[o] == via]
        other = next(user for o in shared for user in self.users[o] if self.of_agent[user] == kind)
        agent = self.program.agents[other]
        if at < 0:
            return other, at, f"rank {agent.rank}, block {agent.number}: its beginning"
        place = self.places.at(agent, self.record(other), at)
        who = f"block {place.block}, instruction {path_text(place.path)}" if place.port is None else "port"
        return other, at, f"rank {place.rank}, {who}: {place.text}"
