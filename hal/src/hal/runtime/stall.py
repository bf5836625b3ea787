"""The stall report: where every rank and block stood when a launch failed, in the words that all executors use.

An executor leaves entries behind, one a block; it knows for each rank whether there are any, and why not.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from hal.plan.model import Plan
from hal.plan.text import describe, numbered, path_text


class Failure(enum.IntEnum):
    """Why a group cannot go on; the codes are those of native and device code."""

    NONE = 0
    STALL = 1
    PEER_DIED = 2
    ABORTED = 3
    UNREACHABLE = 4
    """A rank's plain memory could not be read or written by another process."""
    MISMATCH = 5
    """Ranks called different things, and some had gone on before it was found."""


class Waiting(enum.IntEnum):
    """What a block stands at; the codes are those of native and device code."""

    RUNNING = 0
    SIGNAL = 1
    ARRIVAL = 2
    PACKET = 3
    BARRIER = 4
    SEMAPHORE = 5
    DONE = 6
    PORT = 7


@dataclass(frozen=True)
class Entry:
    """Where a block stood. `block` is -1 where the rank as a whole waits, `position` where there is no instruction."""

    waiting: Waiting
    block: int
    position: int
    """The number of the instruction in its block, those inside loops counted."""
    channel: int
    """Also the number of a barrier or a semaphore."""
    peer: int
    expected: int
    seen: int


def lines(plan: Plan | None, member: int, ranks: Sequence[int], entries: Sequence[Entry]) -> list[str]:
    """One line for each entry of `member`. `ranks` are what messages call the members."""
    return [_line(plan, member, ranks, entry) for entry in entries]


def _line(plan: Plan | None, member: int, ranks: Sequence[int], entry: Entry) -> str:
    at = f"rank {ranks[member]}" + (f", block {entry.block}" if entry.block >= 0 else "")
    where = ""
    if plan is not None and entry.position >= 0:
        where = f", at {_instruction(plan, member, entry.block, entry.position)}"
    return f"{at}{where}: {_waits(entry, ranks)}"


def _waits(entry: Entry, ranks: Sequence[int]) -> str:
    other = ranks[entry.peer] if 0 <= entry.peer < len(ranks) else None
    expected, seen = entry.expected, entry.seen
    match entry.waiting:
        case Waiting.SIGNAL:
            return f"waits on channel {entry.channel} for rank {other}: expected {expected} signals, seen {seen}"
        case Waiting.ARRIVAL:
            return f"waits for rank {other} to enter this call"
        case Waiting.PACKET:
            return f"waits for packets in the scratch of rank {other}: expected {expected}, seen {seen}"
        case Waiting.BARRIER:
            return f"waits at barrier {entry.channel}: expected {expected} blocks, seen {seen}"
        case Waiting.SEMAPHORE:
            return f"waits for semaphore {entry.channel}: expected {expected}, seen {seen}"
        case Waiting.PORT if entry.channel < 0:
            return f"waits to have read the scratch of rank {other}: expected {expected} operations done, seen {seen}"
        case Waiting.PORT:
            return f"waits for the posts on channel {entry.channel} to rank {other}: expected {expected}, seen {seen}"
        case Waiting.DONE:
            return "done"
        case Waiting.RUNNING:
            return "running"


def _instruction(plan: Plan, member: int, block: int, position: int) -> str:
    rank = plan.ranks[member]
    if not 0 <= block < len(rank.blocks):
        return "an unknown block"
    for number, (path, instruction) in enumerate(numbered(rank.blocks[block])):
        if number == position:
            return f"instruction {path_text(path)} «{describe(instruction, rank.channels)}»"
    return "an unknown instruction"
