"""What a device has room for, as far as a plan asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from hal.plan.findings import Code, Finding, Where
from hal.plan.lower import walk
from hal.plan.model import Barrier, Move, Plan, Signal, Wait


@dataclass(frozen=True)
class Limits:
    """The most of each that a plan may use; None is without a limit."""

    blocks: int | None = None
    """Blocks of a rank, which run at the same time."""
    instructions: int | None = None
    """Instructions of a block, those inside loops counted once."""
    channels: int | None = None
    """Channels of a rank."""
    operands: int | None = None
    """Operands of a move."""
    channels_at_once: int | None = None
    """Channels of one signal or wait."""
    semaphores: int | None = None
    """Semaphores of a rank."""
    barriers: int | None = None
    """Different barriers of a rank."""
    scratch_chunks: int | None = None
    """Scratch chunks of a rank."""
    scratch_bytes: int | None = None
    """Bytes of scratch of a rank, where the plan fixes them."""


def exceeded(plan: Plan, limits: Limits) -> Iterator[Finding]:
    """A finding for each limit that the plan exceeds, at the rank that exceeds it most."""
    worst: dict[str, tuple[int, int, int]] = {}
    for rank in range(plan.size):
        for name, (used, block) in _used(plan, rank).items():
            if used > worst.get(name, (0, 0, 0))[0]:
                worst[name] = (used, rank, block)
    for each in fields(limits):
        limit = getattr(limits, each.name)
        used, rank, block = worst.get(each.name, (0, 0, 0))
        if limit is not None and used > limit:
            what = each.name.replace("_", " ")
            message = f"rank {rank} uses {used} {what}, the device has {limit}"
            yield Finding(Code.RESOURCE_LIMIT, message, (Where(rank, block, ()),))


def _used(plan: Plan, rank: int) -> dict[str, tuple[int, int]]:
    """How much of each a rank uses, and in which block where that matters."""
    part = plan.ranks[rank]
    most: dict[str, tuple[int, int]] = {
        "blocks": (len(part.blocks), 0),
        "channels": (len(part.channels), 0),
        "semaphores": (len(part.semaphores), 0),
        "scratch_chunks": (part.scratch_chunks, 0),
        "scratch_bytes": (part.scratch_chunks * (plan.scratch_chunk_bytes or 0), 0),
    }

    def more(name: str, used: int, block: int) -> None:
        if used > most.get(name, (0, 0))[0]:
            most[name] = (used, block)

    barriers = set()
    for number, block in enumerate(part.blocks):
        instructions = list(walk(block))
        more("instructions", len(instructions), number)
        for instruction in instructions:
            if isinstance(instruction, Move):
                more("operands", len(instruction.src) + len(instruction.dst), number)
            elif isinstance(instruction, Signal | Wait):
                more("channels_at_once", len(instruction.channels), number)
            elif isinstance(instruction, Barrier):
                barriers.add(instruction.id)
    more("barriers", len(barriers), 0)
    return most
