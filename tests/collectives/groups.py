"""Groups of ranks in this process, below the communicator, and a plan run by them on the host's executor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal import config
from hal.bootstrap import Store, StoreServer
from hal.interface.dtypes import DType, ReduceOp
from hal.plan.model import Plan
from hal.runtime.group import Group, open_device
from hal_collectives.buffers import empty

Array = NDArray[Any]
TIMEOUT = 20.0


class Ranks:
    """The ranks of a group, each of which runs in a thread of its own when something is run."""

    def __init__(self, groups: Sequence[Group], pool: ThreadPoolExecutor) -> None:
        self.groups = groups
        self._pool = pool

    def run(
        self,
        plan: Plan,
        inputs: Sequence[Array],
        op: ReduceOp = ReduceOp.SUM,
        *,
        count: int,
        mapped: Plan | None = None,
        launches: int = 1,
    ) -> list[Array]:
        """Run a plan out of place in registered memory; the outputs of all ranks, by launch and rank in turn."""
        dtype = DType.of(inputs[0].dtype)

        def one(rank: int) -> list[Array]:
            group = self.groups[rank]
            part = plan.ranks[rank]
            x = empty(group.device, inputs[rank].size, dtype.numpy)
            x[:] = inputs[rank]
            y = empty(group.device, part.output_chunks // plan.split * count, dtype.numpy)
            executable = group.load(plan, count, dtype, op, mapped=mapped)
            results = []
            for _ in range(launches):
                y.view(np.uint8)[:] = 0xA5
                executable.run(_address(x), x.nbytes, _address(y), y.nbytes, TIMEOUT)
                results.append(y.copy())
            return results

        made = list(self._pool.map(one, range(len(self.groups))))
        return [rank[launch] for launch in range(launches) for rank in made]


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0]) if array.nbytes else 0


@contextlib.contextmanager
def host_ranks(size: int, **overrides: Any) -> Iterator[Ranks]:
    """The ranks of a new group on the host backend."""
    settings = config.load(None, {name.replace("__", "."): value for name, value in overrides.items()})
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(StoreServer(size))
        pool = stack.enter_context(ThreadPoolExecutor(size))

        def make(rank: int) -> Group:
            store = Store.connect(server.address, rank=rank, secret=server.secret, timeout=TIMEOUT)
            stack.callback(store.close)
            device = open_device("host", settings.section("host"))
            group = Group(device, store, tuple(range(size)), name="tested", timeout=TIMEOUT)
            stack.callback(group.close)
            return group

        yield Ranks(list(pool.map(make, range(size))), pool)
