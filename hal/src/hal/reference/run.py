"""`run`: a plan on arrays."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError
from hal.plan.collective import Collective
from hal.plan.ends import other_ends
from hal.plan.layout import Layout, needed, unshared
from hal.plan.model import BufferKind, Move, Plan
from hal.plan.text import numbered
from hal.plan.validate import validate
from hal.reference.launch import Call
from hal.reference.machine import run_launches
from hal.reference.memory import Memory
from hal.reference.operands import Operands
from hal.reference.schedule import Schedule, chooser

Array = NDArray[Any]


@dataclass(frozen=True)
class Result:
    """What a run leaves behind, one array a rank."""

    outputs: list[Array]
    """The outputs of the last launch."""
    launches: list[list[Array]]
    """The outputs of every launch, as each rank had them when it completed the launch."""
    inputs: list[Array]
    """The inputs after the run: a plan may write to them, and in place they are part of the outputs or contain them."""
    scratch: list[NDArray[np.uint8]]
    """The scratch that the last launch used, as bytes; its second part serves packets alone."""


def run(
    plan: Plan,
    inputs: Sequence[Array],
    *,
    op: str | ReduceOp = ReduceOp.SUM,
    in_place: bool = False,
    count: int | None = None,
    layout: Layout | None = None,
    schedule: Schedule = None,
    max_pieces: int = 1,
    launches: int = 1,
) -> Result:
    """Run a plan on `inputs`, one 1-D array a rank, all of one HAL dtype; they are copied and never written to.

    `op`          the reduction of the call.
    `in_place`    whether input and output share memory: all of it where they are equally long, else the shorter is
                  the rank's block of the longer, as in NCCL. At a rank that has only one of them nothing is shared.
                  In an aliased plan they always do.
    `count`       the count of the call (see `Collective`); found from the lengths of the inputs where it is not given.
    `layout`      in place of the uniform one of `count`; inputs have at least the length that it needs.
    `schedule`    None: all tasks in turn. A seed: a random schedule. A function: it is given the tasks that can go on
                  (`Task`: blocks, deliverers of posts, launchers) and returns the one to go.
    `max_pieces`  moves and posts are carried out in up to so many random pieces with others going in between, which
                  brings races to light. The seed decides on the pieces too.
    `launches`    how often to run, back to back. Each launch begins with the inputs as given and with garbage in the
                  outputs and in scratch. A rank may run ahead of others by one launch.

    Raises `PlanError` where the plan is not valid or its operands do not fit the layout, its subclass `Deadlock` where
    no block can go on, and `UsageError` where the arguments do not fit the plan.
    """
    validate(plan)
    dtype = _dtype_of(plan, inputs)
    reduction = ReduceOp.of(op)
    _check_ops(plan, dtype, reduction)
    if launches < 1 or max_pieces < 1:
        raise UsageError(f"launches and max_pieces are 1 or more, not {launches} and {max_pieces}")
    if layout is None:
        layout = Layout.uniform(plan, _count_of(plan, inputs) if count is None else count, dtype.itemsize)
    _check_sizes(plan, inputs, layout)
    shared = in_place or plan.aliased
    if shared:
        _check_in_place(plan)
    memory = Memory(plan, layout, inputs, shared)
    chance = random.Random(schedule if isinstance(schedule, int) else 0)
    call = Call(plan, Operands(plan, layout), memory, dtype, reduction, max_pieces, chance, other_ends(plan))
    made = run_launches(call, launches, chooser(schedule))
    every = [[output.view(dtype.numpy) for output in outputs] for outputs in made]
    ranks = range(plan.size)
    return Result(
        outputs=every[-1],
        launches=every,
        inputs=[memory.whole(r, BufferKind.INPUT, launches).copy().view(dtype.numpy) for r in ranks],
        scratch=[memory.whole(r, BufferKind.SCRATCH, launches).copy() for r in ranks],
    )


def _dtype_of(plan: Plan, inputs: Sequence[Array]) -> DType:
    if len(inputs) != plan.size:
        raise UsageError(f"plan {plan.name!r} takes {plan.size} inputs, one a rank, not {len(inputs)}")
    found = {DType.of(array.dtype) for array in inputs}
    if len(found) > 1 or any(array.ndim != 1 for array in inputs):
        raise UsageError("inputs are 1-D arrays of one dtype")
    return found.pop()


def _check_ops(plan: Plan, dtype: DType, reduction: ReduceOp) -> None:
    blocks = (block for rank in plan.ranks for block in rank.blocks)
    moves = (each for block in blocks for _, each in numbered(block) if isinstance(each, Move))
    for op in {reduction, *(move.op for move in moves if move.op is not None)}:
        op.check(dtype)


def _count_of(plan: Plan, inputs: Sequence[Array]) -> int:
    """The count that gives every rank an input of the length it has."""
    counts = set()
    for rank, array in zip(plan.ranks, inputs, strict=True):
        blocks, rest = divmod(rank.input_chunks, plan.split)
        if rest:
            raise UsageError(f"inputs of {rank.input_chunks} chunks, split {plan.split}, tell no count: pass `count`")
        if blocks:
            counts.add(array.size / blocks)
    if not counts and Collective.of(plan.collective) is Collective.CUSTOM:
        raise UsageError("no rank has an input, from which the count would follow: pass `count`")
    if len(counts) > 1 or any(c % 1 for c in counts):
        shown = ", ".join(str(array.size) for array in inputs)
        raise UsageError(f"inputs of {shown} elements do not fit {plan.collective}: the count is the same on all ranks")
    return int(counts.pop()) if counts else 0


def _check_sizes(plan: Plan, inputs: Sequence[Array], layout: Layout) -> None:
    for rank, array in enumerate(inputs):
        wanted = needed(layout.inputs[rank]) // layout.itemsize
        if array.size < wanted or array.itemsize != layout.itemsize:
            raise UsageError(
                f"the input of rank {rank} has {array.size} elements of {array.itemsize} bytes, "
                f"but the layout needs {wanted} of {layout.itemsize}"
            )


def _check_in_place(plan: Plan) -> None:
    if not plan.in_place:
        raise UsageError(f"plan {plan.name!r} is not made for output and input that share memory")
    number = unshared(plan)
    if number is not None:
        raise UsageError(f"where input and output of rank {number} would share memory is not defined")
