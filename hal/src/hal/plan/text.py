"""Plans in words: one line for each instruction, as reports and `hal plan show` print them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hal.interface.errors import PlanError
from hal.plan.model import (
    Acquire,
    Barrier,
    Channel,
    ChannelKind,
    Flush,
    Instruction,
    Loop,
    Move,
    Plan,
    Post,
    RankPlan,
    Release,
    Signal,
    Span,
    Sync,
    Wait,
)

Path = tuple[int, ...]
"""Where an instruction stands in its block: its number, and inside a loop its number there too."""


def describe(instruction: Instruction, channels: Sequence[Channel] = ()) -> str:
    """The instruction on one line, a loop without its body.

    `channels` are those of the rank that runs it; with them the line names peers beside channel numbers.
    """
    match instruction:
        case Move():
            targets = ", ".join(map(span_text, instruction.dst))
            return f"move {targets} <- {_sources(instruction)}{_part(instruction)}"
        case Post(channel=channel):
            end = _peer(channels, channel)
            target = span_text(instruction.dst) + ("" if end is None else f"@{end}")
            extra = "".join(f", {word}" for word in ("signal", "flush") if getattr(instruction, word))
            return f"post {target} <- {span_text(instruction.src)}{_part(instruction)}{extra} (channel {channel})"
        case Signal():
            return _on_channels("signal", instruction, channels)
        case Wait():
            return _on_channels("wait", instruction, channels)
        case Flush(channel=channel):
            end = _peer(channels, channel)
            return f"flush (channel {channel})" if end is None else f"flush {end} (channel {channel})"
        case Sync():
            return "sync"
        case Barrier():
            return f"barrier {instruction.id} of {instruction.blocks} blocks"
        case Acquire():
            return f"acquire semaphore {instruction.semaphore}"
        case Release():
            return f"release semaphore {instruction.semaphore}"
        case Loop():
            return f"loop unit {instruction.unit}, slots {instruction.slots}"


def span_text(span: Span) -> str:
    """An operand: `input[0]`, `output[0:4]`, `scratch[2].packets@1` (of rank 1), `output[0]@switch 3` (channel 3)."""
    chunks = str(span.index) if span.size == 1 else f"{span.index}:{span.index + span.size}"
    form = ".packets" if span.packet else ""
    place = f"@switch {span.switch}" if span.switch is not None else "" if span.peer is None else f"@{span.peer}"
    return f"{span.buffer.value}[{chunks}]{form}{place}"


def path_text(path: Path) -> str:
    """A place in a block as reports write it: `3`, or `3.1` for the second instruction of the loop at 3."""
    return ".".join(map(str, path))


def instruction_at(plan: Plan, rank: int, block: int, path: Path) -> Instruction:
    """The instruction at `path` of a block; `PlanError` where the plan has none there."""
    try:
        found: Instruction | None = None
        sequence = plan.ranks[rank].blocks[block]
        for number in path:
            found = sequence[number]
            sequence = found.body if isinstance(found, Loop) else ()
    except IndexError:
        found = None
    if found is None or min(rank, block, *path) < 0:
        raise PlanError(f"plan {plan.name!r} has no instruction {path_text(path)} in block {block} of rank {rank}")
    return found


def numbered(block: Sequence[Instruction]) -> Iterator[tuple[Path, Instruction]]:
    """The instructions of a block with their paths, each loop followed by its body."""
    for number, instruction in enumerate(block):
        yield (number,), instruction
        if isinstance(instruction, Loop):
            for inner, each in enumerate(instruction.body):
                yield (number, inner), each


def show(plan: Plan, rank: int | None = None) -> str:
    """The whole plan, or one rank of it, as text of several lines; `PlanError` where there is no such rank."""
    if rank is not None and not 0 <= rank < plan.size:
        raise PlanError(f"plan {plan.name!r} has no rank {rank}: allowed are 0 to {plan.size - 1}")
    return "\n".join(_lines(plan, range(plan.size) if rank is None else (rank,)))


def _lines(plan: Plan, ranks: Sequence[int]) -> Iterator[str]:
    root = "" if plan.root is None else f", root {plan.root}"
    yield f"plan {plan.name!r}: {plan.collective} on {plan.size} ranks{root}"
    if plan.description:
        yield plan.description
    scratch = "" if plan.scratch_chunk_bytes is None else f", scratch chunks of {plan.scratch_chunk_bytes} bytes"
    place = "in place alone" if plan.aliased else "in place or not" if plan.in_place else "not in place"
    equally = " equally" if plan.even else ""
    yield f"count cut{equally} in {plan.split} at multiples of {plan.align} bytes{scratch}; {place}"
    for number in ranks:
        yield ""
        yield from _rank_lines(number, plan.ranks[number])


def _rank_lines(number: int, rank: RankPlan) -> Iterator[str]:
    chunks = f"input {rank.input_chunks}, output {rank.output_chunks}, scratch {rank.scratch_chunks} chunks"
    yield f"rank {number}: {chunks}"
    for index, channel in enumerate(rank.channels):
        many = channel.kind is ChannelKind.SWITCH
        ends = ", ".join(map(str, channel.peers))
        yield f"  channel {index}: {channel.kind.value} {'of ranks' if many else 'to rank'} {ends}"
    for index, initial in enumerate(rank.semaphores):
        yield f"  semaphore {index}: initially {initial}"
    for index, block in enumerate(rank.blocks):
        yield f"  block {index}"
        for path, instruction in numbered(block):
            yield f"    {'  ' * (len(path) - 1)}{path_text(path)}: {describe(instruction, rank.channels)}"


def _sources(move: Move) -> str:
    sources = ", ".join(map(span_text, move.src))
    if len(move.src) > 1 or move.op is not None or any(s.switch is not None for s in move.src):
        sources = f"{'reduce' if move.op is None else move.op.label}({sources})"
    return sources + (", final" if move.final else "")


def _part(instruction: Move | Post) -> str:
    return "" if instruction.parts == 1 else f", part {instruction.part} of {instruction.parts}"


def _on_channels(verb: str, instruction: Signal | Wait, channels: Sequence[Channel]) -> str:
    many = "channels" if len(instruction.channels) > 1 else "channel"
    numbers = ", ".join(map(str, instruction.channels))
    ends = [_peer(channels, c) for c in instruction.channels]
    peers = "" if None in ends else f" {', '.join(map(str, ends))}"
    return f"{verb}{' relaxed' if instruction.relaxed else ''}{peers} ({many} {numbers})"


def _peer(channels: Sequence[Channel], index: int) -> int | None:
    return channels[index].peer if 0 <= index < len(channels) else None
