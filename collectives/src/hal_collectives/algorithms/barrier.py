"""barrier: no rank leaves before all have come."""

from __future__ import annotations

from hal.plan.builder import PlanBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.meeting import meet
from hal_collectives.algorithms.registry import algorithm


@algorithm("barrier", name="all_pairs", description="every rank signals all others and waits for all of them")
def all_pairs(size: int) -> Plan:
    """One message delay."""
    p = PlanBuilder("barrier", name="all_pairs", ranks=size)
    for rank in p.ranks:
        block = rank.block()
        meet(block)
    return p.build()
