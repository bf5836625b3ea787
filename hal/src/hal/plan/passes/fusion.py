"""`fuse`: several instructions done as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hal.plan.model import Flush, Instruction, Loop, Move, Plan, Post, Signal, Sync, Wait
from hal.plan.passes.footprint import conflicts
from hal.plan.passes.merge import Merger
from hal.plan.passes.synchronise import synchronise
from hal.plan.validate import validate


def fuse(plan: Plan) -> Plan:
    """A valid plan with instructions of a block made one where that does the same.

    * moves of the same sources: one move to the destinations of both (copy + put);
    * a move, and the copy of its result elsewhere: one move to both (reduce + put); the first destination goes where
      it is scratch that nothing else reads;
    * a copy to scratch, and the one move that reads it there: that move, reading the source itself (get + reduce);
    * signals, or waits, one after the other: one of several channels; a post and the flush after it: a post that
      flushes.

    Results keep their bits: what was rounded in between still is. Moves are brought together over other moves, where
    these have nothing to do with it; never over another instruction. Every `Sync` is placed anew (`synchronise`), so
    that the plan may gain some where it lacked them. Buffers, channels, name and properties stay. `PlanError` where the
    plan is not valid.
    """
    validate(plan)
    merger = Merger(plan)
    ranks = []
    for number, rank in enumerate(plan.ranks):
        blocks = []
        for block_number, block in enumerate(rank.blocks):
            merger.enter(number, block_number)
            blocks.append(tuple(_fused(merger, block)))
        ranks.append(replace(rank, blocks=tuple(blocks)))
    made = synchronise(replace(plan, ranks=tuple(ranks)))
    validate(made)
    return made


def _fused(merger: Merger, instructions: Iterable[Instruction]) -> list[Instruction]:
    made: list[Instruction] = []
    run: list[Move] = []
    for instruction in instructions:
        if isinstance(instruction, Move):
            _add_move(merger, run, instruction)
        elif not isinstance(instruction, Sync):
            made += run
            run = []
            if isinstance(instruction, Loop):
                made.append(replace(instruction, body=tuple(_fused(merger, instruction.body))))
            else:
                _add(made, instruction)
    return made + run


def _add(made: list[Instruction], instruction: Instruction) -> None:
    """Append, or make one with the last."""
    last = made[-1] if made else None
    if isinstance(last, Post) and isinstance(instruction, Flush) and last.channel == instruction.channel:
        made[-1] = replace(last, flush=True)
    elif isinstance(last, Signal | Wait) and isinstance(instruction, Signal | Wait) and _joins(last, instruction):
        made[-1] = replace(last, channels=(*last.channels, *instruction.channels))
    else:
        made.append(instruction)


def _joins(last: Signal | Wait, instruction: Signal | Wait) -> bool:
    same = type(last) is type(instruction) and last.relaxed == instruction.relaxed
    return same and not set(last.channels) & set(instruction.channels)


def _add_move(merger: Merger, run: list[Move], move: Move) -> None:
    """Append to a run of moves with nothing to order them, or make one with an earlier of them, the nearest first."""
    for place in reversed(range(len(run))):
        first, between = run[place], run[place + 1 :]
        both = merger.earlier(first, move)
        # what now comes before those in between must not rely on the packets that they wait for
        if both is not None and _passes(merger, move, between) and not any(map(_has_packets, between)):
            merger.replace(first, move, both)
            run[place] = both
            return
        both = merger.later(first, move)
        # and those in between must not rely on packets that are now waited for after them
        if both is not None and _passes(merger, first, between) and not (between and _has_packets(first)):
            merger.replace(first, move, both)
            del run[place]
            _add_move(merger, run, both)
            return
    run.append(move)


def _passes(merger: Merger, move: Move, others: Sequence[Move]) -> bool:
    channels = merger.plan.ranks[merger.rank].channels
    return not any(conflicts(merger.rank, channels, move, other, plan=merger.plan) for other in others)


def _has_packets(move: Move) -> bool:
    return any(span.packet for span in move.src)
