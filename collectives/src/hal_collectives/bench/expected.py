"""What each rank sends and must receive, and the count of elements that are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal.plan.collective import Collective
from hal_collectives.bench.values import Values

Array = NDArray[Any]

_CHUNK = 1 << 16
"""Elements generated and compared at once: few enough for the processor's cache."""

POISON = 0xA5
"""The byte that fills memory which the collective is to overwrite."""


@dataclass(frozen=True)
class Piece:
    """`length` elements of an output: those of a sender's sequence from `start` on, or of the reduction (None)."""

    sender: int | None
    start: int
    length: int


def sends(collective: Collective, rank: int, root: int) -> bool:
    """Whether what `rank` passes as input matters."""
    return rank == root or collective not in (Collective.BROADCAST, Collective.SCATTER)


def output_pieces(collective: Collective, rank: int, ranks: int, root: int, count: int) -> list[Piece]:
    """The output that the call must give on `rank`, in order; empty where it gives none.

    `count` is the call's parameter (`formulas.Message.count`). In send_recv every rank sends to the next one, as in
    nccl-tests.
    """
    match collective:
        case Collective.ALL_REDUCE:
            return [Piece(None, 0, count)]
        case Collective.REDUCE_SCATTER:
            return [Piece(None, rank * count, count)]
        case Collective.REDUCE:
            return [Piece(None, 0, count)] if rank == root else []
        case Collective.ALL_GATHER:
            return [Piece(sender, 0, count) for sender in range(ranks)]
        case Collective.GATHER:
            return [Piece(sender, 0, count) for sender in range(ranks)] if rank == root else []
        case Collective.BROADCAST:
            return [Piece(root, 0, count)]
        case Collective.SCATTER:
            return [Piece(root, rank * count, count)]
        case Collective.ALL_TO_ALL:
            return [Piece(sender, rank * count, count) for sender in range(ranks)]
        case Collective.SEND_RECV:
            return [Piece((rank - 1) % ranks, 0, count)]
        case _:
            return []


def fill_input(target: Array, values: Values, rank: int) -> None:
    """Fill a rank's input with its sequence."""
    for start, stop in _chunks(len(target)):
        target[start:stop] = values.of(rank, start, stop)


def poison(target: Array) -> None:
    """Overwrite memory, so that data of an earlier call is not taken for a result."""
    target.view(np.uint8).fill(POISON)


def count_wrong_output(actual: Array, pieces: list[Piece], values: Values) -> int:
    """How many elements of an output differ from what they must be.

    Moved data is compared bit for bit, a reduction by value, so that either zero will do.
    """
    wrong = offset = 0
    for piece in pieces:
        for start, stop in _chunks(piece.length):
            got = actual[offset + start : offset + stop]
            first, last = piece.start + start, piece.start + stop
            if piece.sender is None:
                wrong += int(np.count_nonzero(got != values.reduced(first, last)))
            else:
                wrong += _count_different_bits(got, values.of(piece.sender, first, last))
        offset += piece.length
    return wrong


def count_changed_input(actual: Array, values: Values, rank: int) -> int:
    """How many elements of a rank's input are not as `fill_input` left them: out of place a call only reads it."""
    return sum(
        _count_different_bits(actual[start:stop], values.of(rank, start, stop)) for start, stop in _chunks(len(actual))
    )


def _count_different_bits(one: Array, other: Array) -> int:
    unsigned = np.dtype(f"u{one.dtype.itemsize}")
    return int(np.count_nonzero(one.view(unsigned) != other.view(unsigned)))


def _chunks(length: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, _CHUNK):
        yield start, min(start + _CHUNK, length)
