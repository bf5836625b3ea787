"""Plans bound to the executor of two ranks or of a group, each once for every length and type."""

from __future__ import annotations

from hal.interface.device import Memory
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError
from hal.interface.executor import Executable, Executor
from hal.plan.model import Plan
from hal.runtime.group import Group

Key = tuple[Plan, int, DType, int]


class Binding:
    """What the ends of one kind of channel share: the group, the deadline, and the executables made so far."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self._made: dict[Key, Executable] = {}

    def run(
        self,
        plan: Plan,
        source: Memory | None,
        target: Memory | None,
        *,
        pair: tuple[int, int] | None = None,
        nbytes: int = 0,
        dtype: DType = DType.UINT8,
        fallback: Plan | None = None,
        timeout: float | None = None,
    ) -> None:
        """Run one end of a primitive. `nbytes` is the length of the transfer, the same at all of its ends.

        With `fallback` the plan reaches the memory of others, which therefore has to be mapped.
        """
        executor = self.group.executor if pair is None else self.group.executor.pair(*pair)
        for memory in (source, target):
            if memory is not None and fallback is not None:
                _check_mapped(executor, memory)
        number = executor.rank if pair is not None else -1
        key = (plan, nbytes, dtype, number)
        if key not in self._made:
            given = plan if fallback is None else fallback
            mapped = None if fallback is None else plan
            count = nbytes // dtype.itemsize
            self._made[key] = self.group.load(
                given, count, dtype, ReduceOp.SUM, mapped=mapped, executor=executor if pair is not None else None
            )
        deadline = self.group.timeout if timeout is None else timeout
        where = [(0, 0) if memory is None else (memory.address, memory.nbytes) for memory in (source, target)]
        self._made[key].run(*where[0], *where[1], deadline)


class Pair(Binding):
    """A channel between this rank and `peer`, a rank of the group."""

    def __init__(self, group: Group, peer: int) -> None:
        super().__init__(group)
        if not 0 <= peer < group.size or peer == group.rank:
            others = ", ".join(str(r) for r in range(group.size) if r != group.rank) or "none"
            raise UsageError(f"no channel leads to rank {peer}: allowed are {others}", rank=group.rank)
        self.peer = peer
        self._out = (group.rank, peer)
        self._in = (peer, group.rank)

    def _send(self, plan: Plan, source: Memory, timeout: float | None, fallback: Plan | None) -> None:
        self.run(plan, source, None, pair=self._out, nbytes=source.nbytes, fallback=fallback, timeout=timeout)

    def _receive(self, plan: Plan, target: Memory, timeout: float | None, fallback: Plan | None) -> None:
        self.run(plan, None, target, pair=self._in, nbytes=target.nbytes, fallback=fallback, timeout=timeout)


def _check_mapped(executor: Executor, memory: Memory) -> None:
    if not executor.is_mapped(memory.address, memory.nbytes):
        raise UsageError(
            f"{memory.nbytes} bytes at {memory.address:#x} cannot be reached by other ranks: take memory of "
            "`Device.allocate`, on ranks that share a host",
            rank=executor.rank,
        )
