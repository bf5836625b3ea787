"""What a simulation found: time, bandwidths, the critical path, how busy links were, and every interval on demand."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from hal.interface.dtypes import DType
from hal.interface.errors import UsageError
from hal.plan.collective import Collective
from hal.plan.model import Plan
from hal.plan.simulate.critical import Step, critical_path
from hal.plan.simulate.machine import RESOURCES, Machine
from hal.plan.simulate.places import Places
from hal.plan.simulate.program import Agent
from hal.plan.simulate.record import Record
from hal.plan.timeline import Interval, Timeline

MOST_INTERVALS = 2_000_000
"""A list of more intervals is refused: each takes about 300 bytes."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy links (or memories, or processors) were that are alike: each of `names` by as much.

    `carried` is in bytes, of processors in seconds of one; `utilisation` is what that is of the capacity in the time
    of the whole launch.
    """

    kind: str
    names: tuple[str, ...]
    capacity: float
    carried: float
    utilisation: float


@dataclass(frozen=True)
class Prediction:
    """The result of `simulate`. Times are seconds since the launch began on all ranks at once."""

    plan: Plan
    topology: str
    """The name of the topology: that of its file."""
    count: int
    dtype: DType
    time: float
    """Until every block has ended and every post has arrived."""
    blocks: int
    simulated: int
    """How many of the blocks (and engines of ports) were run; the others behave like one of these."""
    instructions: int
    """How many instructions these ran."""
    _machine: Machine = field(repr=False)

    @property
    def nbytes(self) -> int:
        """The bytes of the larger buffer, as nccl-tests counts; the length of the longest for a custom plan."""
        share = max(max(rank.input_chunks, rank.output_chunks) for rank in self.plan.ranks)
        return self.count * self.dtype.itemsize * share // self.plan.split

    @property
    def algbw(self) -> float:
        """Bytes of the larger buffer a second."""
        return self.nbytes / self.time if self.time else 0.0

    @property
    def busbw(self) -> float:
        """The algorithm bandwidth times nccl-tests' factor, by which collectives and rank counts compare."""
        return self.algbw * bus_factor(Collective.of(self.plan.collective), self.plan.size)

    @cached_property
    def critical_path(self) -> list[Step]:
        """The chain of instructions that the time is made of, from first to last; their `seconds` add up to it."""
        return critical_path(self._machine, self._places)

    @cached_property
    def loads(self) -> list[Load]:
        """All that moves share, from busiest to idle, those that are alike together. What nothing uses is left out."""
        machine = self._machine
        found = []
        for number, members in enumerate(machine.classes.objects):
            kind = machine.program.objects[members[0]]
            if not isinstance(kind, tuple) or kind[0] not in RESOURCES:
                continue
            resources = machine.program.topology.resources
            names = tuple(resources[int(str(machine.program.keys[o][1]))].name for o in members)
            carried = machine.carried[number]
            found.append(Load(kind[0], names, kind[1], carried, carried / kind[1] / self.time if self.time else 0.0))
        return sorted(found, key=lambda load: -load.utilisation)

    @property
    def intervals(self) -> list[Interval]:
        """What every block of every rank did when; see `timeline` for some ranks alone."""
        return self._intervals(None)

    def timeline(self, ranks: Collection[int] | None = None) -> Timeline:
        """The intervals of all ranks, or of some. `UsageError` where these are more than `MOST_INTERVALS`."""
        source = f"simulated on {self.topology}, {self.nbytes} bytes of {self.dtype.label}"
        return Timeline(self.plan.name, self._intervals(ranks), source)

    @cached_property
    def _places(self) -> Places:
        return Places(self._machine.program)

    def _intervals(self, ranks: Collection[int] | None) -> list[Interval]:
        for rank in ranks or ():
            if not 0 <= rank < self.plan.size:
                raise UsageError(f"plan {self.plan.name!r} has no rank {rank}: allowed are 0 to {self.plan.size - 1}")
        machine = self._machine
        program, classes = machine.program, machine.classes
        chosen = [
            (agent, machine.agents[kind].record)
            for agent, kind in zip(program.agents, classes.of_agent, strict=True)
            if ranks is None or agent.rank in ranks
        ]
        total = sum(len(record.ends) for _, record in chosen)
        if total > MOST_INTERVALS:
            raise UsageError(
                f"{total} intervals are too many: allowed are {MOST_INTERVALS}; ask for some of the ranks alone"
            )
        return [interval for agent, record in chosen for interval in self._of_agent(agent, record)]

    def _of_agent(self, agent: Agent, record: Record) -> Iterator[Interval]:
        start = self._machine.compute.launch
        for index, end in enumerate(record.ends):
            place = self._places.at(agent, record, index)
            if record.starts is not None:
                start = record.starts[index]
            yield Interval(
                agent.rank, place.block, place.path, place.text, place.kind, start, end, place.nbytes, place.peer,
                place.port,
            )  # fmt: skip
            start = end


def bus_factor(collective: Collective, ranks: int) -> float:
    """What nccl-tests multiplies the algorithm bandwidth by (its `doc/PERFORMANCE.md`)."""
    match collective.uniform:
        case Collective.ALL_REDUCE:
            return 2 * (ranks - 1) / ranks
        case Collective.BROADCAST | Collective.REDUCE | Collective.SEND_RECV | Collective.CUSTOM:
            return 1.0
        case Collective.BARRIER:
            return 0.0
        case _:
            return (ranks - 1) / ranks
