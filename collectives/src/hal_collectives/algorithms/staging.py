"""What algorithms that stage any length through bounded scratch have in common: piece sizes and one-way streams.

Ranks work on one piece at a time. Where all signal all once a piece, two slots suffice: who signals for piece i+1 has
done with piece i, so after the wait of piece i+1 the slot of piece i is free for piece i+2. A one-way stream has no
such signal, and the consumers return one for every slot that they have emptied.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from hal.plan.builder import BlockBuilder, RankBuilder

SCRATCH_BUDGET = 2 << 20
"""Bytes of scratch of one launch that no staging algorithm exceeds on up to 64 ranks."""

LARGEST_UNIT = 128 << 10
"""Bytes of a piece where the budget allows: it stays in the second-level cache from one pass to the next."""

SMALLEST_UNIT = 4 << 10

PUBLISH_UNIT = 8 << 10
"""Bytes of a piece that the others take from scratch while the next is put there, which holds the whole message."""

STREAM_UNIT = 64 << 10
"""Bytes of a piece of a stream, whose ends work on different pieces at the same time."""

STREAM_SLOTS = 4
"""How many pieces the producer of a stream may be ahead of the slowest consumer."""


def in_pieces(block: BlockBuilder, unit: int | None) -> contextlib.AbstractContextManager[None]:
    """The instructions inside are for pieces of `unit` bytes in scratch that holds all of them; None: for the whole."""
    return contextlib.nullcontext() if unit is None else block.loop(unit, slots=0)


def unit_for(chunks: int, slots: int) -> int:
    """The bytes of a piece, a power of two, by which `chunks` scratch chunks of `slots` slots fit the budget."""
    unit = LARGEST_UNIT
    while unit > SMALLEST_UNIT and chunks * slots * unit > SCRATCH_BUDGET:
        unit //= 2
    return unit


def place_for(receiver: RankBuilder, owner: RankBuilder) -> int:
    """The chunk for `receiver` in the scratch of `owner`, which has one for each other rank."""
    return receiver.id - (receiver.id > owner.id)


@contextlib.contextmanager
def produce(block: BlockBuilder, consumers: Sequence[RankBuilder], unit: int) -> Iterator[None]:
    """The instructions inside fill a slot of scratch, once a piece, for the blocks of `consumers` that `consume`."""
    with block.loop(unit, STREAM_SLOTS):
        block.wait(consumers)
        yield
        block.signal(consumers)
    # every signal of a launch is waited for in that launch
    for _ in range(STREAM_SLOTS):
        block.wait(consumers)


@contextlib.contextmanager
def consume(block: BlockBuilder, producers: Sequence[RankBuilder], unit: int) -> Iterator[None]:
    """The instructions inside empty the slot of scratch that the blocks of `producers` filled, once a piece."""
    for _ in range(STREAM_SLOTS):
        block.signal(producers)
    with block.loop(unit, STREAM_SLOTS):
        block.wait(producers)
        yield
        block.signal(producers)
