"""From the document to the plan."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

from hal.interface.dtypes import ReduceOp
from hal.plan.collective import Collective
from hal.plan.document import Problem
from hal.plan.lower import walk
from hal.plan.model import Acquire, Instruction, Loop, Plan, RankPlan, Release
from hal.plan.mscclpp.blocks import BlockTranslation, Setting
from hal.plan.mscclpp.channels import checked, inside, read_channels
from hal.plan.mscclpp.options import ImportOptions
from hal.plan.mscclpp.schema import COLLECTIVES, Document, Gpu
from hal.plan.validate import LARGEST_ALIGN, PACKET_BYTES

REUSED_SCRATCH = 64 << 20
"""Bytes of scratch of a plan that reuses it, both halves together."""


def translate(document: Document, options: ImportOptions, label: str) -> Plan:
    """The plan that a document stands for, without marks of final results; `Problem` where there is none."""
    if not document.gpus:
        raise Problem("gpus: there are none")
    align = document.buffer_alignment
    if not PACKET_BYTES <= align <= LARGEST_ALIGN or align & (align - 1):
        allowed = f"powers of two from {PACKET_BYTES} to {LARGEST_ALIGN}"
        raise Problem(f"buffer_alignment: allowed are {allowed}, not {align}")
    collective = Collective.of(COLLECTIVES[document.collective])
    split = _split(document, collective)
    chunk = _reused_chunk(document)
    for number, gpu in enumerate(document.gpus):
        with inside(f"gpus[{number}]"):
            _check_gpu(number, gpu, document)
    setting = Setting(
        gpus=document.gpus,
        channels=read_channels(document.gpus),
        options=options,
        reduction=None if collective.reduces or collective is Collective.CUSTOM else ReduceOp.SUM,
        scratch_chunk=chunk,
        label=label,
    )
    ranks = []
    for number in range(len(document.gpus)):
        with inside(f"gpus[{number}]"):
            ranks.append(_rank(setting, number))
    return Plan(
        name=document.name,
        collective=collective.label,
        ranks=tuple(ranks),
        split=split,
        align=align,
        scratch_chunk_bytes=chunk,
        in_place=document.inplace,
        description=f"imported from an MSCCL++ plan for {document.collective}, protocol {document.protocol}",
        aliased=document.inplace,
        even=True,
    )


def _split(document: Document, collective: Collective) -> int:
    """The number of chunks of a call's count: what one rank gives to, or gets from, one other."""
    gpus = document.gpus
    if collective is Collective.CUSTOM:
        if document.inplace and any(gpu.input_chunks != gpu.output_chunks for gpu in gpus):
            raise Problem(f"inplace: input and output of {document.collective} are not equally long on every rank")
        split = math.gcd(*(n for gpu in gpus for n in (gpu.input_chunks, gpu.output_chunks)))
        if not split:
            raise Problem("gpus: no rank has an input or an output")
        return split
    # in input or output, whichever holds the count once
    key = "input_chunks" if collective is not Collective.REDUCE_SCATTER else "output_chunks"
    held: int = getattr(gpus[0], key)
    split, rest = divmod(held, len(gpus) if collective is Collective.ALL_TO_ALL else 1)
    if not split or rest:
        step = len(gpus) if collective is Collective.ALL_TO_ALL else 1
        raise Problem(f"gpus[0].{key}: {document.collective} has {step} or a multiple of it, not {held}")
    for number, gpu in enumerate(gpus):
        blocks = collective.blocks(len(gpus), number)
        for key, found, count in zip(
            ("input_chunks", "output_chunks"), (gpu.input_chunks, gpu.output_chunks), blocks, strict=True
        ):
            if found != count * split:
                raise Problem(f"gpus[{number}].{key}: {document.collective} has {count * split} here, not {found}")
    return split


def _reused_chunk(document: Document) -> int | None:
    """Bytes of a chunk of scratch that is reused, all ranks alike."""
    if not document.reuse_resources:
        return None
    counts = {gpu.scratch_chunks for gpu in document.gpus if gpu.scratch_chunks}
    if not counts:
        return None
    if len(counts) > 1:
        listed = ", ".join(map(str, sorted(counts)[:8]))
        raise Problem(f"reuse_resources: scratch of {listed} chunks: a chunk is then not as long on every rank")
    room = REUSED_SCRATCH // 2 if document.use_double_scratch_buffer else REUSED_SCRATCH
    chunk = -(-room // counts.pop())
    return -(-chunk // document.buffer_alignment) * document.buffer_alignment


def _check_gpu(number: int, gpu: Gpu, document: Document) -> None:
    with inside(".id"):
        if gpu.id != number:
            raise Problem(f"rank {number} of the file has number {gpu.id}")
    for index, buffer in enumerate(gpu.remote_buffers):
        with inside(f".remote_buffers[{index}].rank"):
            checked("rank", buffer.rank, len(document.gpus))
            if buffer.rank == number:
                raise Problem(f"rank {number} is this rank itself")
    for index, block in enumerate(gpu.threadblocks):
        with inside(f".threadblocks[{index}].id"):
            if block.id != index:
                raise Problem(f"block {index} of the file has number {block.id}")


def _rank(setting: Setting, number: int) -> RankPlan:
    gpu = setting.gpus[number]
    blocks = []
    for index, block in enumerate(gpu.threadblocks):
        with inside(f".threadblocks[{index}]"):
            blocks.append(tuple(BlockTranslation(setting, number, block).instructions()))
    _check_semaphores(gpu, blocks)
    return RankPlan(
        gpu.input_chunks,
        gpu.output_chunks,
        gpu.scratch_chunks,
        tuple(blocks),
        tuple(setting.channels[number].channels),
        tuple(semaphore.init_value for semaphore in gpu.semaphores),
    )


def _check_semaphores(gpu: Gpu, blocks: list[tuple[Instruction, ...]]) -> None:
    """Refuse a semaphore that ends a launch with another count than it began with: here it begins each one afresh."""
    taken: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for block in blocks:
        for instruction in block:
            inner = instruction.body if isinstance(instruction, Loop) else (instruction,)
            unit = instruction.unit if isinstance(instruction, Loop) else 0
            for each in walk(inner):
                if isinstance(each, Acquire | Release):
                    taken[each.semaphore][unit] += 1 if isinstance(each, Acquire) else -1
    for semaphore, counts in sorted(taken.items()):
        for unit, difference in sorted(counts.items()):
            if difference:
                where = f"each piece of pipelines of unit {unit}" if unit else "a launch"
                more = "acquires" if difference > 0 else "releases"
                less = "releases" if difference > 0 else "acquires"
                with inside(f".semaphores[{semaphore}]"):
                    raise Problem(
                        f"{where} has {abs(difference)} more {more} than {less}: a count that lasts from one launch "
                        "to the next is not supported"
                    )
