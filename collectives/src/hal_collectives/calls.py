"""Preparing a call: which algorithm, which plans, loaded once and kept for the next call of the same shape."""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from hal.config import Algorithms
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.executor import Call, Executable, Executor
from hal.plan.collective import Collective
from hal.plan.layout import Layout
from hal.plan.lower import lower, scratch_needed
from hal.plan.model import Plan
from hal.runtime.disagreement import NO_ROOT
from hal.runtime.group import Group
from hal_collectives.algorithms import Algorithm
from hal_collectives.plan_files import PlanFile
from hal_collectives.selection import SelectionTable, choose, hosts_table

KEPT = 4096
"""Executables kept for each communicator; the one used longest ago goes first."""

Key = tuple[Any, ...]


class Calls:
    """The executables of one communicator."""

    def __init__(self, group: Group, pins: Algorithms | None, table: SelectionTable | None = None) -> None:
        self._group = group
        self._pins = pins
        self._table = hosts_table() if table is None and group.hosts > 1 else table
        self._kept: OrderedDict[Key, Executable] = OrderedDict()

    def get(
        self,
        collective: Collective,
        count: int,
        dtype: DType,
        op: ReduceOp,
        root: int | None,
        *,
        pair: tuple[int, int] | None = None,
    ) -> Executable:
        """The executable of a call with equal counts on all ranks; of a message where `pair` is given."""
        key = (collective, count, dtype, op, root, pair)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        executor = self._group.executor if pair is None else self._group.executor.pair(*pair)
        largest = max(max(collective.blocks(executor.size, r, root)) for r in range(executor.size))
        return self._load(key, executor, collective, count, dtype, op, root, largest * count * dtype.itemsize, None)

    def get_variable(
        self,
        collective: Collective,
        key: bytes,
        count: int,
        dtype: DType,
        op: ReduceOp,
        root: int | None,
        layout: Callable[[Plan], Layout],
    ) -> Executable:
        """The executable of a variable-count call. `key` tells its counts, `count` is their largest buffer's."""
        whole = (collective, key, dtype, op, root)
        found = self._kept.get(whole)
        if found is not None:
            self._kept.move_to_end(whole)
            return found
        nbytes = count * dtype.itemsize
        return self._load(whole, self._group.executor, collective, count, dtype, op, root, nbytes, layout)

    def get_exchange(
        self, collective: Collective, width: int, dtype: DType, op: ReduceOp, root: int | None
    ) -> Executable:
        """The executable of the all_gather of `width` int64 a rank with which a variable-count call begins.

        It announces that call, without a count, so that ranks are compared by what they are about to do.
        """
        key = (collective, width, dtype, op, root, "exchange")
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        executor, item = self._group.executor, DType.INT64.itemsize
        table = hosts_table() if self._group.hosts > 1 else None
        algorithm = choose(
            Collective.ALL_GATHER, executor.size, executor.size * width * item, mapped=False, table=table
        )
        plan = algorithm.build(executor.size)
        program = lower(plan, executor.rank, Layout.uniform(plan, width, item), DType.INT64)
        call = Call(collective, dtype, op, NO_ROOT if root is None else root, 0, _identity(algorithm))
        return self._keep(key, executor.load(call, program))

    def _load(
        self,
        key: Key,
        executor: Executor,
        collective: Collective,
        count: int,
        dtype: DType,
        op: ReduceOp,
        root: int | None,
        nbytes: int,
        layout: Callable[[Plan], Layout] | None,
    ) -> Executable:
        size = executor.size

        def fits(algorithm: Algorithm) -> bool:
            plan = algorithm.build(size, root)
            where = layout(plan) if layout else Layout.uniform(plan, count, dtype.itemsize)
            return scratch_needed(plan, where) <= executor.scratch_bytes

        select = functools.partial(
            choose,
            collective,
            size,
            nbytes,
            pins=self._pins,
            table=self._table,
            ranks_per_host=self._group.ranks_per_host,
            any_order=not dtype.is_float,
            fits=fits,
        )
        plain, mapped = select(mapped=False), select(mapped=True)
        apart = select(mapped=True, all_in_place=False)
        for chosen in (plain, mapped):
            if isinstance(chosen, PlanFile):
                chosen.check_op(op)
        executable = self._group.load(
            plain.build(size, root),
            count,
            dtype,
            op,
            mapped=None if mapped == plain else mapped.build(size, root),
            layout=layout,
            collective=collective,
            executor=executor,
            identity=_identity(plain, mapped, apart),
            pays_in_place=apart != mapped,
        )
        return self._keep(key, executable)

    def _keep(self, key: Key, executable: Executable) -> Executable:
        self._kept[key] = executable
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return executable


def _identity(*chosen: Algorithm) -> int:
    """A number by which ranks see that they chose the same algorithms."""
    text = "/".join(a.name for a in chosen)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
