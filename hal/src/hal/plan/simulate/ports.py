"""The engines behind port channels: each delivers what is posted to it, one after the other, beside the blocks."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from hal.plan.simulate.program import FLUSH, POST, Op
from hal.plan.simulate.record import reference
from hal.plan.simulate.state import Agent, Port

if TYPE_CHECKING:
    from hal.plan.simulate.machine import Machine


class Ports:
    """The ports of a machine. A delivery takes the bytes over the route; signals follow their data in order."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.landed = 0.0
        """When the last byte of any delivery has arrived."""
        self.lander = -1
        """The agent whose delivery that is."""
        self.last = -1
        """The place of that delivery in the record of the agent."""

    def instruction(self, number: int, agent: Agent, op: Op, nbytes: int) -> bool:
        """A post of so many bytes, or a flush; False while the block has to wait for an acknowledgement."""
        machine = self._machine
        where = agent.slots[op[1]]
        port = self._port(where)
        flushes = op[0] == FLUSH or op[4]
        if op[0] == POST and not agent.resumed:
            end = agent.at + machine.compute.overhead
            cause = reference(number, agent.record)
            # the record of a post that does not wait is the next one
            self.post(where, end, nbytes, op[3], cause if flushes else cause + 1)
            agent.at = end
            if not flushes:
                machine.ended(agent, end)
                return True
        if not agent.resumed:
            agent.resumed = True
            agent.target = port.posted
        if port.done < agent.target:
            port.waiting.append((number, agent.target))
            return False
        machine.ended(agent, agent.at + (machine.compute.overhead if op[0] == FLUSH else 0.0))
        return True

    def post(self, where: int, at: float, nbytes: int, signal: bool, cause: int) -> None:
        """Hand a port bytes (or none) to deliver and a signal to send after them, at a time to come."""
        port = self._port(where)
        port.posted += 1
        port.queue.append((at, nbytes, signal, cause))
        self._machine.push_posted(at, where)

    def deliver(self, where: int, now: float) -> None:
        """Begin the next delivery of a port, where there is one and it is idle."""
        port = self._port(where)
        if port.busy or not port.queue or port.queue[0][0] > now:
            return
        port.busy = True
        posted, nbytes, _, cause = port.queue[0]
        agent = self._machine.agents[port.agent]
        agent.flow_bytes = nbytes
        agent.start = now
        if posted == now:
            agent.cause, agent.via = cause, where
        if nbytes and agent.usages[0]:
            self._machine.sharing.start(port.agent, agent.usages[0], inf, nbytes, now)
        else:
            self.handed_over(port.agent, agent, now)

    def handed_over(self, number: int, agent: Agent, now: float) -> None:
        """The last byte of a delivery has left; the next may begin."""
        machine, record = self._machine, agent.record
        where, counter = agent.slots[0], agent.slots[1]
        port = self._port(where)
        _, _, signals, _ = port.queue.popleft()
        assert record.starts is not None
        record.starts.append(agent.start)
        record.sizes.append(agent.flow_bytes)
        record.add(now, agent.cause, agent.via)
        agent.cause, agent.via = 0, -1
        machine.carry(agent.usages[0], agent.flow_bytes)
        cause = reference(number, record)
        arrival = now + agent.patterns[0].latency
        if arrival > self.landed:
            self.landed, self.lander, self.last = arrival, number, len(record.ends) - 1
        if signals:
            machine.push_signal(arrival, number, counter, cause)
        machine.push_delivered(arrival + agent.code[0][1], where, cause)
        port.busy = False
        self.deliver(where, now)

    def delivered(self, where: int, now: float, cause: int) -> None:
        """A delivery is acknowledged."""
        port = self._port(where)
        port.done += 1
        waiting, port.waiting = port.waiting, []
        for number, target in waiting:
            if target <= port.done:
                self._machine.resume(number, now, cause, where)
            else:
                port.waiting.append((number, target))

    def _port(self, where: int) -> Port:
        port = self._machine.objects[where]
        assert isinstance(port, Port)
        return port
