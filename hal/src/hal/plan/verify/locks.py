"""Semaphores that are used as locks: whoever takes one gives it back without waiting for anything in between.

Which block takes a lock first is open, and differs from schedule to schedule. But a lock is always given back, so that
nobody waits for it in vain whatever the order. It orders nothing that could be relied on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hal.plan.model import Acquire, Barrier, Flush, Instruction, Loop, Move, Plan, Post, Release, Wait


def locks(plan: Plan) -> set[tuple[int, int]]:
    """The semaphores (rank, index) that are locks."""
    return {
        (number, index)
        for number, rank in enumerate(plan.ranks)
        for index, initial in enumerate(rank.semaphores)
        if initial >= 1 and all(_gives_back(body, index) for block in rank.blocks for body in _bodies(block))
    }


def _bodies(block: Iterable[Instruction]) -> Iterator[list[Instruction]]:
    """The instructions of a block, and those of each of its loops."""
    outside = list(block)
    yield outside
    for instruction in outside:
        if isinstance(instruction, Loop):
            yield list(instruction.body)


def _gives_back(body: Iterable[Instruction], semaphore: int) -> bool:
    """Whether every acquire is followed by its release, with nothing between them that may wait."""
    held = False
    for instruction in body:
        match instruction:
            case Acquire(semaphore=index) if index == semaphore:
                if held:
                    return False
                held = True
            case Release(semaphore=index) if index == semaphore:
                if not held:
                    return False
                held = False
            case _:
                if held and _may_wait(instruction):
                    return False
    return not held


def _may_wait(instruction: Instruction) -> bool:
    match instruction:
        case Move(src=sources):
            return any(span.packet for span in sources)
        case Post(src=source, flush=flush):
            return flush or source.packet
        case _:
            return isinstance(instruction, Wait | Barrier | Acquire | Flush | Loop)
