"""What the interpreter reports when no block can go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hal.interface.errors import PlanError
from hal.plan.text import Path, path_text


@dataclass(frozen=True)
class Stall:
    """Where a block stands and what it waits for. `channel` and `peer` are None where it waits for something else."""

    rank: int
    block: int
    launch: int
    path: Path
    text: str
    """The instruction."""
    waits_for: str
    expected: int
    seen: int
    channel: int | None = None
    peer: int | None = None

    def __str__(self) -> str:
        where = f"rank {self.rank}, block {self.block}, launch {self.launch}, instruction {path_text(self.path)}"
        return f"{where}: {self.text}: waits for {self.waits_for}: expected {self.expected}, seen {self.seen}"


class Deadlock(PlanError):  # noqa: N818 -- the field's name for it
    """No block can go on and not all are done; `stalls` says for each that is not where it stands."""

    def __init__(self, plan: str, stalls: Sequence[Stall]) -> None:
        super().__init__("\n  ".join([f"plan {plan!r} is in deadlock:", *map(str, stalls)]))
        self.stalls = tuple(stalls)
