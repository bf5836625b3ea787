"""What an import is told, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass

from hal.plan.model import Plan


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Where the executor of MSCCL++ deviates from what its plan language says, which an import can reproduce.

    By default a plan means what the language says.
    """

    swap_get_offsets: bool = False
    """`get` reads at the offset of its destination and writes at that of its source."""
    ignore_flush: bool = False
    """`flush` does nothing."""
    always_sum: bool = False
    """`reduce_op` is not looked at: every reduction is the sum, whatever the call asks for."""


@dataclass(frozen=True)
class Imported:
    """A plan, and what its file says beside it."""

    plan: Plan
    warnings: tuple[str, ...] = ()
    """What the executor of MSCCL++ would refuse or do otherwise, and what does not work here; each names the place."""
    min_message_size: int = 0
    max_message_size: int | None = None
    """The sizes in bytes that the plan is meant for, those of the larger of input and output; None for any."""

    def serves(self, nbytes: int) -> bool:
        """Whether the plan is meant for messages of `nbytes` bytes."""
        return self.min_message_size <= nbytes and (self.max_message_size is None or nbytes <= self.max_message_size)
