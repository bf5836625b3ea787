"""The builder: plans in Python that read like the algorithm.

    p = PlanBuilder("all_gather", name="direct", ranks=4)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.output[rank.id], rank.input[0])
        block.signal(rank.others)
        for other in rank.others:
            block.wait([other])
            block.copy(rank.output[other.id], other.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
    plan = p.build()

A chunk of another rank (`other.input[0]`) in a block of this one is that rank's memory, mapped here. Channels are made
as they are used: block k of one rank and block k of another share a channel unless `channel=` says otherwise.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hal.interface.dtypes import ReduceOp
from hal.interface.errors import PlanError
from hal.plan.collective import Collective
from hal.plan.model import (
    Acquire,
    Barrier,
    BufferKind,
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


@dataclass(slots=True, unsafe_hash=True)  # a frozen one takes long to make, and large plans have millions
class Chunks:
    """Chunks of one rank's buffer, as an operand. `.packets` is the same in packet form (scratch alone)."""

    rank: RankBuilder
    buffer: BufferKind
    index: int
    size: int
    packet: ClassVar[bool] = False

    @property
    def packets(self) -> PacketChunks:
        """The same chunks in packet form."""
        return PacketChunks(self.rank, self.buffer, self.index, self.size)


@dataclass(slots=True, unsafe_hash=True)
class PacketChunks(Chunks):
    """Chunks of scratch in packet form."""

    packet: ClassVar[bool] = True


class BufferBuilder:
    """A buffer of a rank; index it by chunk (`[2]`) or by a range of chunks (`[2:5]`)."""

    def __init__(self, rank: RankBuilder, kind: BufferKind, chunks: int | None) -> None:
        self._rank = rank
        self._kind = kind
        self._chunks = chunks
        self.used = 0

    def __len__(self) -> int:
        return self.used if self._chunks is None else self._chunks

    def __getitem__(self, key: int | slice) -> Chunks:
        limit = self._chunks
        if isinstance(key, slice):
            if key.step not in (None, 1) or key.start is None or key.stop is None:
                raise PlanError(f"a range of chunks is written [first:end], not [{key.start}:{key.stop}:{key.step}]")
            first, size = key.start, key.stop - key.start
        else:
            first, size = key, 1
        end = first + size
        if first < 0 or size < 1 or (limit is not None and end > limit):
            room = "" if limit is None else f", which has {limit} chunks"
            raise PlanError(f"chunks {first} to {end - 1} of rank {self._rank.id}'s {self._kind.value}{room}")
        if end > self.used:
            self.used = end
        return Chunks(self._rank, self._kind, first, size)


class RankBuilder:
    """One rank of the plan: its buffers `input`, `output` and `scratch`, and its blocks."""

    def __init__(self, plan: PlanBuilder, number: int, input_chunks: int, output_chunks: int) -> None:
        self.id = number
        self.plan = plan
        self.input = BufferBuilder(self, BufferKind.INPUT, input_chunks)
        self.output = BufferBuilder(self, BufferKind.OUTPUT, output_chunks)
        self.scratch = BufferBuilder(self, BufferKind.SCRATCH, None)
        self.blocks: list[BlockBuilder] = []
        self.semaphores: list[int] = []
        self.channels: dict[Key, int] = {}
        """The provisional numbers of its channels; `PlanBuilder.build` puts them in their final order."""

    @property
    def others(self) -> list[RankBuilder]:
        """All other ranks, from the next one round."""
        n = len(self.plan.ranks)
        return [self.plan.ranks[(self.id + i) % n] for i in range(1, n)]

    def block(self) -> BlockBuilder:
        """A new block of this rank."""
        self.blocks.append(BlockBuilder(self, len(self.blocks)))
        return self.blocks[-1]

    def semaphore(self, initial: int = 0) -> int:
        """A new counting semaphore; returns the number that `acquire` and `release` take."""
        self.semaphores.append(initial)
        return len(self.semaphores) - 1


Part = tuple[int, int]
"""(i, n): the i-th of n parts."""

WHOLE: Part = (0, 1)


class _Shared:
    """What the ranks of a large plan say alike very often, each kept once: spans of own memory, signals and waits."""

    def __init__(self) -> None:
        self._spans: dict[tuple[BufferKind, int, int, bool], Span] = {}
        self._signals: dict[tuple[object, ...], Signal | Wait] = {}

    def span(self, buffer: BufferKind, index: int, size: int, packet: bool) -> Span:
        """These chunks as their owner names them."""
        key = (buffer, index, size, packet)
        found = self._spans.get(key)
        if found is None:
            found = self._spans[key] = Span(buffer, index, size, None, packet)
        return found

    def signal(
        self, kind: type[Signal] | type[Wait], channels: tuple[int, ...], relaxed: bool, source: str
    ) -> Signal | Wait:
        """The signal or wait of these fields; those of different lines are different."""
        key = (kind, channels, relaxed, source)
        found = self._signals.get(key)
        if found is None:
            found = self._signals[key] = kind(channels, relaxed, source=source)
        return found


Key = tuple[ChannelKind, int, int]
"""Kind, peer and tag of a channel, by which both of its ends find each other."""


class BlockBuilder:
    """One block: each method appends an instruction. Peers are ranks of the builder; operands are their chunks."""

    def __init__(self, rank: RankBuilder, number: int) -> None:
        self.rank = rank
        self.number = number
        self.body: list[Instruction] = []

    def add(self, instruction: Instruction) -> None:
        """Append an instruction, marked with the line of the caller outside of this module."""
        self.body.append(replace(instruction, source=_caller()))

    def move(
        self,
        dst: Chunks | Sequence[Chunks],
        src: Chunks | Sequence[Chunks],
        op: ReduceOp | None = None,
        *,
        final: bool = False,
        part: Part = WHOLE,
    ) -> None:
        """Store the reduction of all sources, from left to right, to every destination. See `Move`.

        `part` (i, n) moves the i-th of n parts of every operand.
        """
        self.body.append(Move(self._spans(dst), self._spans(src), op, final, *part, source=_caller()))

    def copy(self, dst: Chunks | Sequence[Chunks], src: Chunks, *, part: Part = WHOLE) -> None:
        """Copy one source to every destination: a copy, a put or a get, as the operands are."""
        self.move(dst, src, part=part)

    def reduce(
        self, dst: Chunks | Sequence[Chunks], src: Sequence[Chunks], *, final: bool = False, part: Part = WHOLE
    ) -> None:
        """Reduce by the operation of the call. `final` where the result holds all ranks' contributions."""
        self.move(dst, src, final=final, part=part)

    def post(
        self,
        dst: Chunks,
        src: Chunks,
        *,
        signal: bool = False,
        flush: bool = False,
        channel: int | None = None,
        part: Part = WHOLE,
    ) -> None:
        """Put `src` (own memory) to another rank's `dst` through a port channel."""
        if dst.rank is self.rank or src.rank is not self.rank:
            raise PlanError("post copies from this rank's memory to another rank's")
        (index,) = self._channels([dst.rank], True, channel)
        (target,), (source,) = self._spans(dst), self._spans(src)
        self.body.append(Post(index, replace(target, peer=None), source, signal, flush, *part, source=_caller()))

    def signal(
        self, peers: Iterable[RankBuilder], *, relaxed: bool = False, port: bool = False, channel: int | None = None
    ) -> None:
        """Signal each of `peers`."""
        self.body.append(self.rank.plan.shared.signal(Signal, self._channels(peers, port, channel), relaxed, _caller()))

    def wait(
        self, peers: Iterable[RankBuilder], *, relaxed: bool = False, port: bool = False, channel: int | None = None
    ) -> None:
        """Wait for one signal from each of `peers`."""
        self.body.append(self.rank.plan.shared.signal(Wait, self._channels(peers, port, channel), relaxed, _caller()))

    def flush(self, peer: RankBuilder, *, channel: int | None = None) -> None:
        """Wait until the posts to `peer` are complete."""
        (index,) = self._channels([peer], True, channel)
        self.body.append(Flush(index, source=_caller()))

    def sync(self) -> None:
        """Order the threads of this block."""
        self.body.append(Sync(source=_caller()))

    def barrier(self, number: int, blocks: int) -> None:
        """Meet `blocks` blocks of this rank at barrier `number`."""
        self.body.append(Barrier(number, blocks, source=_caller()))

    def acquire(self, semaphore: int) -> None:
        """Take one from a semaphore of this rank."""
        self.body.append(Acquire(semaphore, source=_caller()))

    def release(self, semaphore: int) -> None:
        """Add one to a semaphore of this rank."""
        self.body.append(Release(semaphore, source=_caller()))

    @contextlib.contextmanager
    def loop(self, unit: int, slots: int = 1) -> Iterator[None]:
        """The instructions inside run for successive pieces of `unit` bytes. See `Loop`."""
        source = _caller()
        outer, self.body = self.body, []
        yield
        inner, self.body = self.body, outer
        self.body.append(Loop(unit, tuple(inner), slots, source=source))

    def _spans(self, chunks: Chunks | Sequence[Chunks]) -> tuple[Span, ...]:
        if isinstance(chunks, Chunks):
            return (self._span(chunks),)
        return tuple([self._span(each) for each in chunks])

    def _span(self, chunks: Chunks) -> Span:
        if chunks.rank is self.rank:
            return self.rank.plan.shared.span(chunks.buffer, chunks.index, chunks.size, chunks.packet)
        return Span(chunks.buffer, chunks.index, chunks.size, chunks.rank.id, chunks.packet)

    def _channels(self, peers: Iterable[RankBuilder], port: bool, tag: int | None) -> tuple[int, ...]:
        kind = ChannelKind.PORT if port else ChannelKind.MEMORY
        own, numbers = self.rank, self.rank.channels
        tag = self.number if tag is None else tag
        found = []
        for peer in peers:
            if peer is own:
                raise PlanError(f"rank {peer.id} has no channel to itself")
            found.append(numbers.setdefault((kind, peer.id, tag), len(numbers)))
        return tuple(found)


class PlanBuilder:
    """Builds a `Plan`. `ranks` are its `RankBuilder`s.

    `collective` fixes how large the buffers are (`Collective.blocks`), `split` in how many chunks the count of a call
    is cut. For a `custom` plan, `input_chunks` and `output_chunks` give the chunks of every rank instead.
    """

    def __init__(
        self,
        collective: str | Collective,
        *,
        name: str,
        ranks: int,
        split: int = 1,
        root: int | None = None,
        align: int = 64,
        scratch_chunk_bytes: int | None = None,
        in_place: bool = True,
        aliased: bool = False,
        even: bool = False,
        description: str = "",
        input_chunks: int | None = None,
        output_chunks: int | None = None,
    ) -> None:
        self.collective = Collective.of(collective)
        self.name = name
        self._details: dict[str, Any] = {
            "split": split,
            "root": root,
            "align": align,
            "scratch_chunk_bytes": scratch_chunk_bytes,
            "in_place": in_place,
            "aliased": aliased,
            "even": even,
            "description": description,
        }
        self.shared = _Shared()
        self.ranks: list[RankBuilder] = []
        for number in range(ranks):
            inputs, outputs = self.collective.blocks(ranks, number, root)
            self.ranks.append(
                RankBuilder(
                    self,
                    number,
                    inputs * split if input_chunks is None else input_chunks,
                    outputs * split if output_chunks is None else output_chunks,
                )
            )

    def build(self) -> Plan:
        """The plan. Every channel has both of its ends, in an order by which they pair."""
        keys = [set(rank.channels) for rank in self.ranks]
        for rank in self.ranks:
            for kind, peer, tag in rank.channels:
                keys[peer].add((kind, rank.id, tag))
        ranks = []
        for rank in self.ranks:
            order = sorted(keys[rank.id], key=lambda k: (k[0].value, k[1], k[2]))
            final = {rank.channels[k]: i for i, k in enumerate(order) if k in rank.channels}
            ranks.append(
                RankPlan(
                    len(rank.input),
                    len(rank.output),
                    len(rank.scratch),
                    tuple(_all_renumbered(block.body, final, self.shared) for block in rank.blocks),
                    tuple(Channel(kind, (peer,)) for kind, peer, _ in order),
                    tuple(rank.semaphores),
                )
            )
        return Plan(self.name, self.collective.label, tuple(ranks), **self._details)


def _caller() -> str:
    """`file:line` of the innermost caller outside of this module (and of `contextlib`, which enters its loops)."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename in _PASSED_OVER and frame.f_back is not None:
        frame = frame.f_back
    return _place(frame.f_code.co_filename, frame.f_lineno)


@functools.cache
def _place(file: str, line: int) -> str:
    return f"{file}:{line}"


_PASSED_OVER = {__file__, contextlib.__file__}


def _all_renumbered(body: Sequence[Instruction], numbers: dict[int, int], shared: _Shared) -> tuple[Instruction, ...]:
    known: dict[int, Signal | Wait] = {}
    found: list[Instruction] = []
    for instruction in body:
        match instruction:
            case Move():
                found.append(instruction)
            case Signal() | Wait():  # shared, so that their identity stands for all that is in them
                signal = known.get(id(instruction))
                if signal is None:
                    final = tuple([numbers[c] for c in instruction.channels])
                    signal = shared.signal(type(instruction), final, instruction.relaxed, instruction.source)
                    known[id(instruction)] = signal
                found.append(signal)
            case Post(channel=channel) | Flush(channel=channel):
                found.append(replace(instruction, channel=numbers[channel]))
            case Loop(body=inner):
                found.append(replace(instruction, body=_all_renumbered(inner, numbers, shared)))
            case _:
                found.append(instruction)
    return tuple(found)
