"""How large a plan may be to be examined: so that a small file cannot ask for hours or for all memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hal.plan.findings import Code, Finding
from hal.plan.layout import Layout
from hal.plan.lower import loop_pieces
from hal.plan.model import Instruction, Loop, Move, Plan

MOST_RANKS = 4096
MOST_BLOCKS = 8192
"""Of all ranks together; each has clocks of so many numbers."""
MOST_CHUNKS = 1 << 19
"""Of all buffers of all ranks together."""
MOST_STEPS = 50_000_000
"""Operands and signals, each piece of a loop counted, in one layout."""
FREE_STEPS = 50_000
MOST_REPETITIONS = 256
"""How much more than `FREE_STEPS` may be run for each operand and signal that the plan has, by the pieces of loops."""


def too_large(plan: Plan) -> Iterator[Finding]:
    """Findings for what there is too much of, before anything is laid out."""
    blocks = sum(len(rank.blocks) for rank in plan.ranks)
    chunks = sum(rank.input_chunks + rank.output_chunks + rank.scratch_chunks for rank in plan.ranks)
    for what, found, most in (
        ("ranks", plan.size, MOST_RANKS),
        ("blocks", blocks, MOST_BLOCKS),
        ("chunks", chunks, MOST_CHUNKS),
    ):
        if found > most:
            message = f"the plan has {found} {what} in all, and no more than {most} are examined"
            yield Finding(Code.TOO_LARGE, message)


def too_long(plan: Plan, layouts: Iterable[Layout]) -> Iterator[Finding]:
    """A finding where the plan takes too many steps in one of the layouts."""
    written = _steps(plan, None)
    steps = max((_steps(plan, loop_pieces(plan, layout)) for layout in layouts), default=0)
    most = min(MOST_STEPS, FREE_STEPS + MOST_REPETITIONS * written)
    if steps > most:
        message = f"the plan takes {steps} steps, and no more than {most} are examined"
        yield Finding(Code.TOO_LARGE, message)


def _steps(plan: Plan, pieces: dict[int, int] | None) -> int:
    """How many operands and signals are run; those that are written, where `pieces` are not given."""
    total = 0
    for rank in plan.ranks:
        for block in rank.blocks:
            for instruction in block:
                if isinstance(instruction, Loop):
                    total += (pieces[instruction.unit] if pieces else 1) * sum(map(_weight, instruction.body))
                else:
                    total += _weight(instruction)
    return total


def _weight(instruction: Instruction) -> int:
    if isinstance(instruction, Move):
        return len(instruction.src) + len(instruction.dst)
    return len(getattr(instruction, "channels", ())) or 1
