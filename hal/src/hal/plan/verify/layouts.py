"""The layouts under which a plan is examined, so that what holds for them holds for every count.

Moves work element by element, and an element of a chunk meets the same instructions at every count, as long as its
piece exists. A shorter chunk takes accesses away and adds none: signals and waits happen all the same. What depends on
lengths is examined at the least favourable ones:

* chunks of two lengths, the last of them cut short, so that no chunk begins in scratch where a denser cut would put it;
* loops of `slots + 1` full pieces and a part of one: every slot of a ring is used again. The order between pieces i and
  i + slots is the same for all i, since a path of signals from one to the other lies between them and is repeated by
  every later pair;
* equal chunks (`Plan.even`) of several numbers of units, since parts of them need not line up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from hal.plan.layout import Layout
from hal.plan.model import Instruction, Loop, Move, Plan, Post

MOST_LAYOUTS = 8


def representative(plan: Plan) -> list[Layout]:
    """The layouts to examine a valid plan under."""
    least = 2 * plan.align
    units: dict[int, int] = {}
    parts = {1}
    for loop, instruction in _instructions(plan):
        if loop is not None:
            units[loop.unit] = max(units.get(loop.unit, 1), loop.slots)
        if isinstance(instruction, Move | Post):
            parts.add(instruction.parts)
    for unit, slots in units.items():
        least = max(least, (slots + 1) * unit * max(parts))
    least = -(-least // plan.align) * plan.align
    if not plan.even:
        whole = plan.split * least + (plan.split + 1) // 2 * plan.align
        return [Layout.uniform(plan, whole - plan.align // 2 - 1 if plan.align > 2 else whole, 1)]
    period = math.lcm(*parts)
    first = least // plan.align if units else 1
    chosen = sorted({first + i for i in range(min(period + 1, MOST_LAYOUTS))})
    return [Layout.uniform(plan, plan.split * n * plan.align, 1) for n in chosen]


def _instructions(plan: Plan) -> Iterator[tuple[Loop | None, Instruction]]:
    for rank in plan.ranks:
        for block in rank.blocks:
            for instruction in block:
                if isinstance(instruction, Loop):
                    for inner in instruction.body:
                        yield instruction, inner
                else:
                    yield None, instruction
