"""Which plans let a member be done before others have begun: it goes on, and compares what they called later."""

from __future__ import annotations

from hal.plan.lower import walk
from hal.plan.memo import once_per_plan
from hal.plan.model import Move, Plan, Wait


@once_per_plan
def goes_on(plan: Plan) -> bool:
    """Whether some rank does not wait for some other. No plan with packets is: they have one place in each half."""
    for rank, ours in enumerate(plan.ranks):
        instructions = [each for block in ours.blocks for each in walk(block)]
        moves = (each for each in instructions if isinstance(each, Move))
        if any(span.packet for move in moves for span in (*move.src, *move.dst)):
            return False
        waits = (each for each in instructions if isinstance(each, Wait))
        awaited = {peer for wait in waits for channel in wait.channels for peer in ours.channels[channel].peers}
        if len(awaited - {rank}) < len(plan.ranks) - 1:
            return True
    return False
