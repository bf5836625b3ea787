"""A plan that does nothing in place of one that needs mapped memory.

An executor takes a plan that reaches other ranks' inputs or outputs only beside one for buffers that are not mapped.
The suite's buffers are mapped, so that the second one never runs; if it does, its outputs are the garbage they were.
"""

from __future__ import annotations

from dataclasses import replace

from hal.plan.lower import mapped_buffers
from hal.plan.memo import once_per_plan
from hal.plan.model import Plan


@once_per_plan
def idle_plan(plan: Plan) -> Plan:
    """`plan` itself where it needs no mapped memory, else one of the same buffers without instructions."""
    if not mapped_buffers(plan):
        return plan
    ranks = tuple(replace(rank, blocks=(), channels=(), semaphores=()) for rank in plan.ranks)
    return replace(plan, name="idle", ranks=ranks)
