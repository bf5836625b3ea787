"""The plans that are mutated: every built-in algorithm at several rank counts, and the hand-written ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hal.plan.collective import Collective
from hal.plan.lower import walk
from hal.plan.model import Loop, Plan
from hal_collectives.algorithms.registry import provide

from .extra import EXTRA, UNIT

RANKS = (2, 3, 4, 8)


@dataclass(frozen=True)
class Original:
    """A right plan, and the name of its algorithm."""

    name: str
    ranks: int
    plan: Plan


def originals(ranks: tuple[int, ...] = RANKS) -> Iterator[Original]:
    """All of them. The root, where there is one, is rank 1: neither the first nor, but for two ranks, the last."""
    for size in ranks:
        for algorithm in provide():
            if algorithm.supports(size):
                root = 1 if Collective.of(algorithm.collective).rooted else None
                plan = small(algorithm.build(size, root))
                yield Original(f"{algorithm.collective}/{algorithm.name}", size, plan)
        for build in EXTRA:
            plan = build(size)
            yield Original(f"{plan.collective}/{plan.name} (hand-written)", size, plan)


def small(plan: Plan) -> Plan:
    """The same plan with loops of short pieces, so that the reference runs many of them in little time."""
    units = {i.unit for r in plan.ranks for b in r.blocks for i in walk(b) if isinstance(i, Loop)}
    if not units or max(units) <= UNIT:
        return plan
    (unit,) = units
    slots, rest = divmod(plan.scratch_chunk_bytes or 0, unit)
    assert not rest, "scratch is as large as the ring"
    ranks = tuple(
        replace(
            rank,
            blocks=tuple(
                tuple(replace(i, unit=UNIT) if isinstance(i, Loop) else i for i in block) for block in rank.blocks
            ),
        )
        for rank in plan.ranks
    )
    return replace(plan, ranks=ranks, scratch_chunk_bytes=slots * UNIT or None)
