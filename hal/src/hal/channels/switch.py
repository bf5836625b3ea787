"""Channels of a whole group: one store reaches all members, one load returns the reduction over all."""

from __future__ import annotations

from hal.channels import plans
from hal.channels.binding import Binding
from hal.interface.device import Memory
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError
from hal.plan.model import Plan
from hal.runtime.group import Group


class SwitchChannel(Binding):
    """Multicast stores and reducing loads among all ranks of a group, of two ranks or more. All ranks call alike.

    Every call takes a `source` and a `target` of equally many bytes on every rank, in mapped memory.
    """

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        if group.size < 2:
            raise UsageError("a switch channel has two or more ranks", rank=group.rank)

    def store(self, source: Memory, target: Memory, *, root: int = 0, timeout: float | None = None) -> None:
        """Store the root's `source` to the `target` of every rank; the other ranks' `source` is not read."""
        self._run(plans.multicast(self.group.size, root), source, target, DType.UINT8, timeout)

    def load_reduce(
        self,
        source: Memory,
        target: Memory,
        dtype: DType = DType.FLOAT32,
        op: ReduceOp = ReduceOp.SUM,
        *,
        root: int = 0,
        timeout: float | None = None,
    ) -> None:
        """Load the reduction of all ranks' `source` into the root's `target`; other ranks' `target` is left as is."""
        self._run(plans.load_reduce(self.group.size, root, op), source, target, dtype, timeout)

    def _run(self, plan: Plan, source: Memory, target: Memory, dtype: DType, timeout: float | None) -> None:
        if source.nbytes != target.nbytes or source.nbytes % dtype.itemsize:
            raise UsageError(
                f"source and target of {source.nbytes} and {target.nbytes} bytes: equally many are needed, whole "
                f"elements of {dtype.label}",
                rank=self.group.rank,
            )
        nothing = plans.nothing_switched(self.group.size)
        self.run(plan, source, target, nbytes=source.nbytes, dtype=dtype, fallback=nothing, timeout=timeout)
