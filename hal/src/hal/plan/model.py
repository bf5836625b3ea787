"""The plan: for each rank, blocks of instructions over three buffers and channels to other ranks.

A plan holds no addresses, no element counts and no element type. Buffers are counted in chunks; how long a chunk is
follows from the size of a call (`hal.plan.layout`), so that one plan serves every size. A plan has no data-dependent
control flow: what it does is fixed when it is written, and can be checked before it runs.

The blocks of one rank run concurrently, and instructions of one block in order. Blocks of different ranks are ordered
by nothing but channels (`Signal` and `Wait`, packets); blocks of one rank by `Barrier`, `Acquire` and `Release`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

from hal.interface.dtypes import ReduceOp

SCHEMA_VERSION = 1
"""The version of the JSON form. A reader accepts its own version and older ones."""


class BufferKind(enum.Enum):
    """The three buffers of a rank."""

    INPUT = "input"
    OUTPUT = "output"
    SCRATCH = "scratch"
    """Memory of the runtime, visible to all ranks. Its content at the start of a launch is undefined. A launch has no
    part of it in which some rank may still be at an earlier launch."""

    __hash__ = object.__hash__  # of identity, which equality is here too: that of `Enum` is Python, and takes long


class ChannelKind(enum.Enum):
    """How a channel reaches its peer."""

    MEMORY = "memory"
    """The peer's memory is mapped: threads load from it and store to it."""
    PORT = "port"
    """A copy engine or a network adapter moves the data (`Post`)."""
    SWITCH = "switch"
    """Multicast memory of a group: one store reaches all members, one load returns the reduction over all."""

    __hash__ = object.__hash__  # as above


@dataclass(frozen=True, slots=True)
class Channel:
    """One end of a channel. The k-th channel of a kind from r to p pairs with the k-th of that kind from p to r.

    `peers` is the one other rank; for a switch channel all ranks of its group, this one included.
    """

    kind: ChannelKind
    peers: tuple[int, ...]

    @property
    def peer(self) -> int:
        """The other rank of a memory or port channel."""
        return self.peers[0]


@dataclass(frozen=True, slots=True)
class Span:
    """`size` chunks of a buffer from chunk `index` on.

    `peer` None means this rank's own memory, a rank number that rank's, mapped here. With `switch` the index of a
    switch channel: the same chunks in all of its group. With `packet` (scratch alone) every 4 bytes of data travel
    with a 4-byte flag of the launch: reading waits until the data of this launch is there, so that no signal is needed.
    """

    buffer: BufferKind
    index: int
    size: int = 1
    peer: int | None = None
    packet: bool = False
    switch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What every instruction has."""

    source: str = field(default="", compare=False, repr=False, metadata={"json": False})
    """Where it was written, as `file:line`; empty where that is not known. Equality and JSON leave it out."""


@dataclass(frozen=True, slots=True)
class Move(Written):
    """`dst[] <- reduce(op, src[])`: all sources reduced from left to right, the result stored to every destination.

    With one source it is a copy, a put, a get or a packet conversion. `op` None is the reduction of the call. `final`
    says that the result holds the contributions of all ranks: here an average is divided.
    All operands have the same length: that of the input or output spans among them, which scratch spans follow.
    In a plan whose chunks are `even`, scratch spans have a length of their own, and a move may be of scratch alone.
    A destination may be one of the sources, exactly; other overlap is not allowed.
    With `parts` above 1 only part `part` of every operand is moved, cut as a count is (`Plan.align`): so the blocks
    of a group share one move.
    """

    dst: tuple[Span, ...]
    src: tuple[Span, ...]
    op: ReduceOp | None = None
    final: bool = False
    part: int = 0
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Post(Written):
    """Start an asynchronous copy of `src` (own memory) to `dst` (the peer's) through port channel `channel`.

    With `signal` the channel is signalled after the data; with `flush` the instruction waits as `Flush` does. `part`
    and `parts` are those of `Move`. Both operands may be packets, which are put as they are: the instruction waits
    until those of `src` are there.
    """

    channel: int
    dst: Span
    src: Span
    signal: bool = False
    flush: bool = False
    part: int = 0
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Signal(Written):
    """Add one to the peer's counter of each channel, after everything that this block wrote before (release).

    `relaxed` leaves the order of earlier writes open.
    """

    channels: tuple[int, ...]
    relaxed: bool = False


@dataclass(frozen=True, slots=True)
class Wait(Written):
    """Wait for the next signal of each channel; what the peer wrote before it is then visible (acquire).

    The n-th wait of a launch on a channel returns when the peer has signalled n times in the same launch.
    """

    channels: tuple[int, ...]
    relaxed: bool = False


@dataclass(frozen=True, slots=True)
class Flush(Written):
    """Wait until earlier posts on a port channel are complete: sources may be reused, the peer has the data."""

    channel: int


@dataclass(frozen=True, slots=True)
class Sync(Written):
    """Order the threads of this block: what any of them wrote before, all see after.

    Every instruction but a move does so too. Two moves of a block with none between them run at the same time, as far
    as memory is concerned: one must not write what the other reads or writes.
    """


@dataclass(frozen=True, slots=True)
class Barrier(Written):
    """Wait until `blocks` blocks of this rank have arrived at barrier `id`; orders their memory accesses."""

    id: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Acquire(Written):
    """Take one from a counting semaphore of this rank, waiting while it is zero."""

    semaphore: int


@dataclass(frozen=True, slots=True)
class Release(Written):
    """Add one to a counting semaphore of this rank, after everything this block wrote before."""

    semaphore: int


@dataclass(frozen=True, slots=True)
class Loop(Written):
    """Run `body` for pieces 0, 1, … of `unit` bytes, until every loop of this unit in the plan is done.

    All loops of one unit, in all blocks of all ranks, run the same number of pieces: as many as the longest input or
    output operand of a move in any of them has. So ranks that signal each other once a piece always agree, also where
    the counts of a call differ between them.
    In piece i an operand of input or output is bytes [i*unit, (i+1)*unit) of its range, cut at its end; a move whose
    operands have ended does nothing, while signals and waits always happen. A scratch chunk is a ring of `slots`
    pieces: piece i uses slot i % slots, so that scratch of slots*unit bytes a chunk serves any length. With no slots
    at all scratch is as long as the data, and piece i of it lies where it lies in the data.
    """

    unit: int
    body: tuple[Instruction, ...]
    slots: int = 1


Instruction: TypeAlias = Move | Post | Signal | Wait | Flush | Sync | Barrier | Acquire | Release | Loop


@dataclass(frozen=True, slots=True)
class RankPlan:
    """What one rank does: its channels, semaphores (initial values, taken afresh each launch) and blocks."""

    input_chunks: int
    output_chunks: int
    scratch_chunks: int
    blocks: tuple[tuple[Instruction, ...], ...]
    channels: tuple[Channel, ...] = ()
    semaphores: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Plan:
    """A collective for a fixed number of ranks.

    `split` is the number of chunks in which the element count of a call is cut; the buffers of rank r hold
    `input_chunks / split` and `output_chunks / split` times that count. `align` is the alignment in bytes of a cut.
    `scratch_chunk_bytes` None makes a scratch chunk as large as the longest data chunk; where chunks are `even` it is
    never larger.
    `in_place` says whether the result is right when output and input share memory as the collective allows.
    `aliased` says that it is right only then: every call shares them, or copies the input into its place beforehand.
    `even` makes all chunks of a call equally long, those of scratch too, which then have no gaps between them. Such a
    plan serves counts alone whose bytes are a multiple of `split * align`.
    """

    name: str
    collective: str
    ranks: tuple[RankPlan, ...]
    split: int = 1
    root: int | None = None
    align: int = 64
    scratch_chunk_bytes: int | None = None
    in_place: bool = True
    description: str = field(default="", compare=False)
    aliased: bool = False
    even: bool = False

    @property
    def size(self) -> int:
        """The number of ranks."""
        return len(self.ranks)
