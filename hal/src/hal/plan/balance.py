"""That signals meet waits and blocks meet at barriers, as numbers.

The rule for channels: in a launch, what one end signals the other end waits for. Outside of loops the numbers are
equal. Inside, they are equal for each unit: all loops of one unit run the same number of pieces on all ranks, so the
signals a piece of all such loops together have to equal the waits a piece. Barriers follow the same rule: all blocks
that meet at one do so equally often.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from hal.plan.model import Barrier, ChannelKind, Instruction, Loop, Plan, Post, RankPlan, Signal, Wait

Unit = int | None
"""The unit of the loop around an instruction; None outside of loops."""


def unbalanced_channels(plan: Plan) -> Iterator[str]:
    """What is wrong with the numbers of signals and waits. Every channel of the plan has both of its ends."""
    signals = [_tally(rank, _signals) for rank in plan.ranks]
    waits = [_tally(rank, _waits) for rank in plan.ranks]
    ends: defaultdict[tuple[ChannelKind, int, int], list[int]] = defaultdict(list)
    for number, rank in enumerate(plan.ranks):
        for index, channel in enumerate(rank.channels):
            if channel.kind is not ChannelKind.SWITCH:
                ends[channel.kind, number, channel.peer].append(index)
    for (kind, number, peer), indices in ends.items():
        for index, other in zip(indices, ends[kind, peer, number], strict=True):
            sent, taken = signals[number][index], waits[peer][other]
            for unit in sorted(sent.keys() | taken.keys(), key=lambda u: u or 0):
                if sent[unit] != taken[unit]:
                    where = "outside of loops" if unit is None else f"a piece in loops of unit {unit}"
                    yield (
                        f"rank {number}, channel {index} to rank {peer}: {sent[unit]} signals {where}, "
                        f"but rank {peer} waits for {taken[unit]} on its channel {other}"
                    )


def unbalanced_barriers(plan: Plan) -> Iterator[str]:
    """What is wrong with the numbers of blocks at barriers, and of their meetings."""
    for number, rank in enumerate(plan.ranks):
        meetings: defaultdict[int, dict[int, Counter[Unit]]] = defaultdict(dict)
        stated: defaultdict[int, set[int]] = defaultdict(set)
        for block_number, block in enumerate(rank.blocks):
            for unit, instruction in _with_units(block):
                if isinstance(instruction, Barrier):
                    meetings[instruction.id].setdefault(block_number, Counter())[unit] += 1
                    stated[instruction.id].add(instruction.blocks)
        for barrier, blocks in meetings.items():
            at = f"rank {number}, barrier {barrier}: "
            if stated[barrier] != {len(blocks)}:
                yield (
                    f"{at}said to be of {listed(sorted(stated[barrier]))} blocks, "
                    f"but used by {len(blocks)}: {listed(blocks)}"
                )
            first, *others = blocks.values()
            if any(other != first for other in others):
                yield f"{at}blocks {listed(blocks)} do not meet there equally often"


def listed(numbers: Iterable[int]) -> str:
    """The first few of some numbers, as messages show them."""
    few = list(numbers)
    return ", ".join(map(str, few[:8])) + (", …" if len(few) > 8 else "")


def _with_units(block: Iterable[Instruction]) -> Iterator[tuple[Unit, Instruction]]:
    for instruction in block:
        if isinstance(instruction, Loop):
            for inner in instruction.body:
                yield instruction.unit, inner
        else:
            yield None, instruction


def _signals(instruction: Instruction) -> tuple[int, ...]:
    if isinstance(instruction, Post):
        return (instruction.channel,) if instruction.signal else ()
    return instruction.channels if isinstance(instruction, Signal) else ()


def _waits(instruction: Instruction) -> tuple[int, ...]:
    return instruction.channels if isinstance(instruction, Wait) else ()


def _tally(rank: RankPlan, channels: Callable[[Instruction], tuple[int, ...]]) -> dict[int, Counter[Unit]]:
    """For each channel, how many signals (or waits) it has outside of loops and in loops of each unit."""
    found: defaultdict[int, Counter[Unit]] = defaultdict(Counter)
    for block in rank.blocks:
        for unit, instruction in _with_units(block):
            for channel in channels(instruction):
                found[channel][unit] += 1
    return found
