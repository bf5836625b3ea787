"""What the executor of MSCCL++ 0.9 does not run as it is written, which an import warns of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hal.plan.model import Loop, Move, Plan, Post
from hal.plan.mscclpp.operations import ACQUIRING, FORMS, ORDERED, RELEASING
from hal.plan.mscclpp.schema import Document, Op, Threadblock

MOST_OPS = 64
"""Of a block, those inside pipelines counted."""
MOST_BLOCK_CHANNELS = 16
"""Of one type, of a block."""
MOST_OP_CHANNELS = 8
MOST_OP_BUFFERS = 10
"""Sources of an operation; as many destinations."""
MOST_BARRIERS = 16
MOST_WARNINGS = 50
_EXECUTOR = "the executor of MSCCL++"


def warnings(document: Document, plan: Plan) -> list[str]:
    """One line for each, which begins with its place in the file."""
    found: list[str] = []
    for warning in _all(document, plan):
        if len(found) == MOST_WARNINGS:
            return [*found, "further warnings are not shown"]
        found.append(warning)
    return found


def _all(document: Document, plan: Plan) -> Iterator[str]:
    for number, gpu in enumerate(document.gpus):
        for index, block in enumerate(gpu.threadblocks):
            at = f"gpus[{number}].threadblocks[{index}]"
            yield from _block(block, at)
            yield from _threads(block, at)
            if document.protocol == "Simple":
                yield from _packets(block, at)
    yield from _pipelines(document, plan)


def _ops(ops: Iterable[Op], at: str) -> Iterator[tuple[str, Op]]:
    """All operations with their places, those inside pipelines included."""
    for index, op in enumerate(ops):
        place = f"{at}.ops[{index}]"
        yield place, op
        yield from _ops(op.ops, place)


def _block(block: Threadblock, at: str) -> Iterator[str]:
    ops = list(_ops(block.ops, at))
    if len(ops) > MOST_OPS:
        yield f"{at}.ops: {_EXECUTOR} takes {MOST_OPS} operations a block, not {len(ops)}"
    for kind in ("memory", "port", "switch"):
        count = sum(len(entry.channel_ids) for entry in block.channels if entry.channel_type == kind)
        if count > MOST_BLOCK_CHANNELS:
            yield f"{at}.channels: {_EXECUTOR} takes {MOST_BLOCK_CHANNELS} {kind} channels a block, not {count}"
    for place, op in ops:
        if len(op.channel_ids) > MOST_OP_CHANNELS:
            yield (
                f"{place}.channel_ids: {_EXECUTOR} takes {MOST_OP_CHANNELS} channels an operation, "
                f"not {len(op.channel_ids)}"
            )
        for side, operands in (("src_buff", op.src_buff), ("dst_buff", op.dst_buff)):
            if len(operands) > MOST_OP_BUFFERS:
                yield (f"{place}.{side}: {_EXECUTOR} takes {MOST_OP_BUFFERS} buffers an operation, not {len(operands)}")
        if op.name == "barrier" and op.barrier_id is not None and op.barrier_id >= MOST_BARRIERS:
            yield f"{place}.barrier_id: {_EXECUTOR} has {MOST_BARRIERS} barriers, 0 to {MOST_BARRIERS - 1}"
        form = FORMS.get(op.name)
        if form is not None and form.pairs and len(op.src_buff) < len(op.dst_buff):
            yield f"{place}.src_buff: {_EXECUTOR} takes a source for each destination, the one here for the first alone"


def _threads(block: Threadblock, at: str) -> Iterator[str]:
    """Where threads of a block rely on others without a `nop` between, which here every signal and wait implies."""
    for ops, place in [(block.ops, at), *((op.ops, p) for p, op in _ops(block.ops, at) if op.ops)]:
        moved = waited = ""
        for index, op in enumerate(ops):
            if op.name in ORDERED:
                moved = waited = ""
            elif op.name in RELEASING and moved:
                yield (
                    f"{place}.ops[{index}]: {op.name} after {moved} without a nop: "
                    f"{_EXECUTOR} does not wait for all threads"
                )
            elif op.name in ACQUIRING:
                waited = op.name
            elif op.name in FORMS and waited:
                yield f"{place}.ops[{index}]: {op.name} after {waited} without a nop: {_EXECUTOR} has one thread wait"
                waited = ""
            if op.name in FORMS:
                moved = op.name


def _packets(block: Threadblock, at: str) -> Iterator[str]:
    for place, op in _ops(block.ops, at):
        if op.name.endswith("pkt"):
            yield f"{place}: {op.name} in a plan of protocol Simple, where {_EXECUTOR} has no room for flags in scratch"
            return


def _pipelines(document: Document, plan: Plan) -> Iterator[str]:
    """Where a pipeline has another number of pieces than here, or does in each what is done piece by piece here."""
    longest: dict[int, int] = {}
    for rank in plan.ranks:
        for instructions in rank.blocks:
            for loop in (i for i in instructions if isinstance(i, Loop)):
                sizes = [
                    i.src[0].size if isinstance(i, Move) else i.src.size
                    for i in loop.body
                    if isinstance(i, Move | Post)
                ]
                longest[loop.unit] = max([longest.get(loop.unit, 0), *sizes])
    for number, gpu in enumerate(document.gpus):
        for index, block in enumerate(gpu.threadblocks):
            for place, op in _ops(block.ops, f"gpus[{number}].threadblocks[{index}]"):
                if op.iter_context is None:
                    continue
                chunks = longest[op.iter_context.unit_size]
                if op.iter_context.num_chunks != chunks:
                    yield (
                        f"{place}.iter_context.num_chunks: pipelines of this unit run here for the pieces of "
                        f"{chunks} chunks, their longest operand, not of {op.iter_context.num_chunks}"
                    )
                for inner, each in _ops(op.ops, place):
                    if each.name.endswith("pkt"):
                        yield f"{inner}: {_EXECUTOR} moves all packets again in every piece, not the piece's"
                        break
