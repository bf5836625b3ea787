"""The error of ranks that call different things, in the words that all executors use."""

from __future__ import annotations

from collections.abc import Sequence

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError
from hal.plan.collective import Collective

NO_ROOT = -1
"""The root of a call that has none."""

Call = tuple[int, int, int, int, int, int]
"""What a rank calls, as executors compare it: collective, dtype, op, root, count, and a plan's number."""


def disagreement(calls: Sequence[Call | None], ranks: Sequence[int], rank: int) -> UsageError:
    """The error for `rank`: who said what, those that agree together.

    `calls` has an entry for each member of the group, None for one that has not entered the call; `ranks` are their
    numbers in the job.
    """
    said: dict[str, list[int]] = {}
    for member, call in zip(ranks, calls, strict=True):
        if call is not None:
            said.setdefault(_call_text(call), []).append(member)
    if len(said) == 1:
        plans = sorted({f"{call[5]:016x}" for call in calls if call is not None})
        return UsageError(
            f"ranks choose different algorithms for {next(iter(said))} (plans {', '.join(plans)}): "
            "their configurations differ",
            rank=rank,
        )
    lines = [f"{_ranks_text(who)}: {text}" for text, who in said.items()]
    return UsageError("ranks disagree on what they call\n  " + "\n  ".join(lines), rank=rank)


def _call_text(call: Call) -> str:
    collective, dtype, op, root, count, _ = call
    what = Collective(collective)
    parts = [f"{count} elements of {DType(dtype).label}"]
    if what is Collective.BARRIER:
        parts = []
    elif what is not what.uniform:
        parts = [DType(dtype).label]  # ranks have counts of their own
    if what.reduces:
        parts.append(f"op {ReduceOp(op).label}")
    if root != NO_ROOT:
        parts.append(f"root {root}")
    return f"{what.label}({', '.join(parts)})"


def _ranks_text(ranks: list[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
