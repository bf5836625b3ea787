"""Why blocks cannot go on: the circle in which they wait for each other, or that nothing will ever come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hal.plan.findings import Code, Finding, Where
from hal.plan.model import Barrier, Move, Post, Release, Signal
from hal.plan.verify.machine import Stuck
from hal.plan.verify.steps import PACKETS, Program, Step, at_piece, walk
from hal.plan.verify.tokens import Key


def explain(program: Program, stuck: Sequence[Stuck]) -> Iterator[Finding]:
    """One finding for every circle, and one for every block that waits for what never comes."""
    standing = {entry.block.index: entry for entry in stuck}
    follows: dict[int, int | None] = {}
    for entry in stuck:
        follows[entry.block.index] = next(iter(_providers(program, entry, standing)), None)
    seen: set[int] = set()
    for start in follows:
        path: list[int] = []
        here: int | None = start
        while here is not None and here not in seen and here not in path:
            path.append(here)
            here = follows[here]
        if here is not None and here in path:
            circle = path[path.index(here) :]
            many = len(circle) > 1
            message = f"{len(circle)} blocks wait for each other in a circle" if many else "a block waits for itself"
            yield Finding(Code.DEADLOCK, message, tuple(_where(program, standing[i]) for i in circle))
        elif here is None and path:
            last = standing[path[-1]]
            message = f"a block waits for {_what(last.key)}, and nothing that is left to run provides it"
            yield Finding(Code.DEADLOCK, message, (_where(program, last),))
        seen.update(path)


def _where(program: Program, entry: Stuck) -> Where:
    return program.where(program.instance(entry.step, entry.piece))


def _what(key: Key) -> str:
    kind, *rest = key
    match kind:
        case "channel":
            return f"a signal on channel {rest[1]} of rank {rest[0]}"
        case "semaphore":
            return f"semaphore {rest[1]} of rank {rest[0]}"
        case "barrier":
            return f"other blocks at barrier {rest[1]} of rank {rest[0]}"
        case _:
            return f"packets in scratch of rank {int(str(rest[0])) // 4}"


def _providers(program: Program, entry: Stuck, standing: dict[int, Stuck]) -> Iterator[int]:
    """Blocks that would provide what a block waits for, if they could go on."""
    for index, other in standing.items():
        if index == entry.block.index and entry.key[0] == "barrier":
            continue
        if any(_provides(program, entry.key, other, step, piece) for step, piece in _rest(other)):
            yield index


def _rest(entry: Stuck) -> Iterator[tuple[Step, int]]:
    """What a stuck block has still to do, without the step it stands at."""
    reached = False
    for step, piece in walk(entry.block):
        if reached:
            yield step, piece
        reached = reached or (step is entry.step and piece == entry.piece)


def _provides(program: Program, key: Key, other: Stuck, step: Step, piece: int) -> bool:
    instruction = step.instruction
    rank = other.block.rank
    match key[0]:
        case "channel":
            channels: tuple[int, ...] = ()
            if isinstance(instruction, Signal):
                channels = instruction.channels
            elif isinstance(instruction, Post) and instruction.signal:
                channels = (instruction.channel,)
            return any(program.others[rank, channel] == key[1:] for channel in channels)
        case "semaphore":
            return isinstance(instruction, Release) and (rank, instruction.semaphore) == key[1:]
        case "barrier":
            return isinstance(instruction, Barrier) and (rank, instruction.id) == key[1:]
        case _:
            if not isinstance(instruction, Move | Post) or step.transfer is None:
                return False
            _, buffer, offset, length = (int(str(n)) if i else 0 for i, n in enumerate(key))
            _, targets, size = at_piece(step.transfer, step.loop, piece)
            return any(
                b == buffer and b & 3 == PACKETS and o < offset + length and offset < o + size for b, o in targets
            )
