"""Simulating one launch of a plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hal.interface.dtypes import DType
from hal.interface.errors import UsageError
from hal.plan.layout import Layout
from hal.plan.model import Plan
from hal.plan.simulate.machine import Machine
from hal.plan.simulate.places import Places
from hal.plan.simulate.prediction import Prediction
from hal.plan.simulate.program import ACQUIRE, BARRIER, WAIT, Agent, compile_plan
from hal.plan.simulate.state import Agent as State
from hal.plan.simulate.state import Counter, Inbox, Meeting
from hal.plan.simulate.symmetry import classify
from hal.plan.simulate.topology import Topology
from hal.plan.text import describe, instruction_at
from hal.plan.validate import validate as check
from hal.reference.deadlock import Deadlock, Stall

_MOST_STALLS = 16


def simulate(
    plan: Plan,
    topology: Topology,
    count: int,
    dtype: Any = DType.FLOAT32,
    *,
    layout: Layout | None = None,
    validate: bool = True,
    merge: bool = True,
) -> Prediction:
    """Predict what a call of `count` elements of `dtype` takes, with rank r of the plan on rank r of the topology.

    All ranks begin at time 0. `layout` takes the place of the uniform one, for variable counts. `validate=False` leaves
    out `hal.plan.validate` for a plan that is known to be valid, since that takes long for a very large one. `merge`
    lets one block run for all that behave alike; without it every block is run, with the same result.

    `PlanError` where the plan is malformed, `hal.reference.Deadlock` where it comes to a halt, `UsageError` where the
    count is not one that it serves, the topology has too few ranks, or there is too much to run (`MOST_STEPS`),
    `ConfigError` where no way leads from one rank to another.
    """
    kind = DType.of(dtype)
    if count < 0:
        raise UsageError(f"a call of {count} elements: allowed are 0 and more")
    if validate:
        check(plan)
    layout = Layout.uniform(plan, count, kind.itemsize) if layout is None else layout
    try:
        program = compile_plan(plan, layout, topology)
    except LookupError:
        check(plan)  # says what is wrong, where the plan is
        raise
    machine = Machine(program, classify(program, merge))
    machine.run()
    stalls = list(_stalls(machine))
    if stalls:
        raise Deadlock(plan.name, stalls)
    blocks = [agent for agent in machine.agents if agent.record.starts is None]
    time = max([machine.compute.launch, machine.ports.landed, *(agent.at for agent in blocks)])
    return Prediction(
        plan=plan,
        topology=topology.name,
        count=count,
        dtype=kind,
        time=time,
        blocks=len(program.agents),
        simulated=len(machine.agents),
        instructions=sum(len(agent.record.ends) for agent in machine.agents),
        _machine=machine,
    )


def _stalls(machine: Machine) -> Iterator[Stall]:
    """Where the first blocks stand that have not come to their end; of those that are alike the first."""
    places = Places(machine.program)
    stuck = [(number, state) for number, state in enumerate(machine.agents) if not state.done]
    for number, state in [entry for entry in stuck if entry[1].record.starts is None][:_MOST_STALLS]:
        yield _stall(machine, places, machine.program.agents[machine.classes.agents[number][0]], state)


def _stall(machine: Machine, places: Places, agent: Agent, state: State) -> Stall:
    plan = machine.program.plan
    path = places.where(agent, state.pc)
    op = state.code[state.pc]
    text = describe(instruction_at(plan, agent.rank, agent.number, path), plan.ranks[agent.rank].channels)
    slots = op[1] if op[0] == WAIT else (op[1],) if op[0] in (ACQUIRE, BARRIER) else [slot for slot, _ in op[3]]
    slot = slots[min(state.step, len(slots) - 1)] if slots else -1
    waits_for, expected, seen, channel, peer = "acknowledgements", state.target, 0, None, None
    if slots:
        known = machine.objects[state.slots[slot]]
        key = machine.program.keys[agent.slots[slot]]
        if isinstance(known, Counter):
            expected, seen = known.taken + 1, known.come
            waits_for = f"semaphore {key[2]}"
            if key[0] == "counter":
                channel = int(str(key[2]))
                peer = plan.ranks[agent.rank].channels[channel].peer
                waits_for = f"signals of rank {peer} on channel {channel}"
        elif isinstance(known, Meeting):
            waits_for, expected, seen = f"blocks at barrier {key[2]}", op[2], known.come
        elif isinstance(known, Inbox):
            waits_for, expected, seen = "packets", state.bytes_now(op[2]), 0
    return Stall(agent.rank, agent.number, 1, path, text, waits_for, expected, seen, channel, peer)
