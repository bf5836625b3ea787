"""The interpreter: launches on all ranks, their tasks, and the taking of turns until all are done."""

from __future__ import annotations

from functools import partial

from hal.interface.errors import UsageError
from hal.plan.model import BufferKind, ChannelKind
from hal.reference.deadlock import Deadlock
from hal.reference.launch import Call, Launch
from hal.reference.memory import Bytes
from hal.reference.schedule import AtRandom, Choose
from hal.reference.task import Pause, Steps, Task


def run_launches(call: Call, launches: int, choose: Choose) -> list[list[Bytes]]:
    """Run launches back to back; returns each rank's output after each launch, as it was when the rank was done."""
    return _Machine(call, launches).run(choose)


class _Machine:
    def __init__(self, call: Call, launches: int) -> None:
        self.call = call
        self.launches = [Launch(call, number + 1) for number in range(launches)]
        self.completed = [0] * call.plan.size
        self.outputs: list[dict[int, Bytes]] = [{} for _ in self.launches]
        self.begun = 0
        self.launchers = [Task("launcher", rank, 0, 0, self.launcher(rank)) for rank in range(call.plan.size)]
        self.tasks: list[Task] = list(self.launchers)

    def run(self, choose: Choose) -> list[list[Bytes]]:
        while not all(launcher.done for launcher in self.launchers):
            task = choose.pick(self.tasks) if isinstance(choose, AtRandom) else self.chosen(choose)
            if task is None:
                stalls = [stall for task in self.tasks for stall in task.pause.stalls()]
                raise Deadlock(self.call.plan.name, sorted(stalls, key=lambda stall: (stall.rank, stall.block)))
            task.step()
            if task.done:
                self.tasks.remove(task)
        return [[outputs[rank] for rank in range(self.call.plan.size)] for outputs in self.outputs]

    def chosen(self, choose: Choose) -> Task | None:
        """The task that goes next by a function; None where none can go on."""
        ready = [task for task in self.tasks if task.ready()]
        if not ready:
            return None
        task = choose(ready)
        if task not in ready:
            raise UsageError(f"the schedule chose {task!r}, which cannot go on: allowed are those it was given")
        return task

    def launcher(self, rank: int) -> Steps:
        """One rank's side of all launches. It may be one launch ahead of others, and no more."""
        memory = self.call.memory
        for launch in self.launches:
            yield self.may_begin(launch.number)
            if self.begun < launch.number:
                self.begun = launch.number
                memory.begin_scratch(launch.number)
            memory.begin(rank, launch.number)
            blocks, ports = self.start(launch, rank)
            yield Pause(partial(self.is_complete, launch, rank, blocks))
            self.tasks = [task for task in self.tasks if task not in ports]
            self.completed[rank] += 1
            self.outputs[launch.number - 1][rank] = memory.whole(rank, BufferKind.OUTPUT, launch.number).copy()

    def may_begin(self, number: int) -> Pause:
        return Pause(lambda: min(self.completed) >= number - 2)

    def is_complete(self, launch: Launch, rank: int, blocks: list[Task]) -> bool:
        return all(block.done for block in blocks) and launch.delivered(rank)

    def start(self, launch: Launch, rank: int) -> tuple[list[Task], list[Task]]:
        """Begin the tasks of a launch on one rank: its blocks, and the deliverers of its port channels."""
        part = self.call.plan.ranks[rank]
        blocks = [
            Task("block", rank, number, launch.number, launch.block(rank, number)) for number in range(len(part.blocks))
        ]
        ports = [
            Task("port", rank, index, launch.number, launch.deliver((rank, index)))
            for index, channel in enumerate(part.channels)
            if channel.kind is ChannelKind.PORT
        ]
        self.tasks += blocks + ports
        return blocks, ports
