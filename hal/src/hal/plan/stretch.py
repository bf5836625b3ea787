"""Longer rings: a plan that stages data through rings of scratch, with more slots than it asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hal.plan.layout import Layout
from hal.plan.lower import spans, spans_of, walk
from hal.plan.memo import once_per_plan
from hal.plan.model import BufferKind, Instruction, Loop, Plan, Span


def stretch(plan: Plan, layout: Layout, room: int) -> tuple[Plan, Layout]:
    """`plan` with rings so long that no slot is used twice in this call, or as long as `room` bytes of scratch allow.

    A slot that is used again later was free when the plan would have used it again, so that what was proven of `plan`
    holds. All ranks get the same from the same. Plans without rings come back as they are, and so do those with a ring
    of one slot, which is to be used again while it is at hand; with packets; with ranges of several scratch chunks,
    which a longer chunk would tear apart; and with scratch that is no ring, or rings of several lengths, where data
    would meet that did not.
    """
    ring = plan.scratch_chunk_bytes
    if ring is None or not _stretches(plan):
        return plan, layout
    chunks = max(rank.scratch_chunks for rank in plan.ranks)
    times = 1
    while times * ring < layout.longest and 2 * times * layout.scratch_chunk * chunks <= room:
        times *= 2
    if times == 1:
        return plan, layout
    known = _stretched(plan)
    if times not in known:
        known[times] = _times(plan, ring, times)
    return known[times], replace(layout, scratch_chunk=times * layout.scratch_chunk)


@once_per_plan
def _stretches(plan: Plan) -> bool:
    blocks = [block for rank in plan.ranks for block in rank.blocks]
    loops = [i for block in blocks for i in walk(block) if isinstance(i, Loop)]
    outside = spans_of(i for block in blocks for i in block if not isinstance(i, Loop))
    return (
        not plan.even
        and all(loop.slots > 1 and loop.slots * loop.unit == plan.scratch_chunk_bytes for loop in loops)
        and all(span.size == 1 and not span.packet for span in _scratch(spans(plan)))
        and not _scratch(outside)
    )


def _scratch(operands: Iterable[Span]) -> list[Span]:
    return [span for span in operands if span.buffer is BufferKind.SCRATCH]


@once_per_plan
def _stretched(plan: Plan) -> dict[int, Plan]:
    return {}


def _times(plan: Plan, ring: int, times: int) -> Plan:
    def longer(instructions: tuple[Instruction, ...]) -> tuple[Instruction, ...]:
        return tuple(
            replace(i, slots=i.slots * times, body=longer(i.body)) if isinstance(i, Loop) else i for i in instructions
        )

    ranks = tuple(replace(rank, blocks=tuple(longer(block) for block in rank.blocks)) for rank in plan.ranks)
    return replace(plan, ranks=ranks, scratch_chunk_bytes=times * ring)
