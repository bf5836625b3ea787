"""The memory of all ranks: inputs, outputs, and the two halves of scratch, plain and in packets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal.plan.layout import Layout, needed
from hal.plan.model import BufferKind, Plan

Bytes = NDArray[np.uint8]

PACKET_DATA = 4
"""Bytes of data in a packet; as many of flag follow them."""


@dataclass(frozen=True)
class Place:
    """Where an operand begins: an offset in bytes into one rank's buffer. Packets take twice the room."""

    rank: int
    buffer: BufferKind
    offset: int
    packet: bool = False


class Memory:
    """All buffers. Those of a launch are told apart by its number, counted from 1, which is also its packets' flag."""

    def __init__(self, plan: Plan, layout: Layout, inputs: Sequence[NDArray[Any]], in_place: bool) -> None:
        self._given = [np.ascontiguousarray(array).view(np.uint8).copy() for array in inputs]
        self._scratch: list[tuple[Bytes, Bytes]] = []
        self._buffers: list[dict[BufferKind, Bytes]] = []
        for number, rank in enumerate(plan.ranks):
            share = _shared if in_place else _apart
            own, output = share(number, plan, layout, len(self._given[number]))
            self._buffers.append({BufferKind.INPUT: own, BufferKind.OUTPUT: output})
            # twice, so that any chunk may be in packet form
            size = 2 * rank.scratch_chunks * layout.scratch_chunk
            self._scratch.append((np.empty(size, np.uint8), np.empty(size, np.uint8)))

    def begin(self, rank: int, launch: int) -> None:
        """Make a rank's buffers ready for a launch: garbage in the output, then the input as it was given."""
        self._buffers[rank][BufferKind.OUTPUT][:] = _garbage(launch)
        self._buffers[rank][BufferKind.INPUT][: len(self._given[rank])] = self._given[rank]

    def begin_scratch(self, launch: int) -> None:
        """Fill the half of scratch that a launch uses with garbage, on all ranks."""
        for halves in self._scratch:
            halves[launch % 2][:] = _garbage(launch)

    def whole(self, rank: int, buffer: BufferKind, launch: int) -> Bytes:
        """All of a rank's buffer; of scratch the half of `launch`."""
        return self._scratch[rank][launch % 2] if buffer is BufferKind.SCRATCH else self._buffers[rank][buffer]

    def read(self, place: Place, launch: int, first: int, length: int) -> Bytes:
        """`length` bytes of data from byte `first` of an operand on. Packets among them are there (`arrived`)."""
        if place.packet:
            return self._packets(place, launch, first, length)[:, :PACKET_DATA].reshape(-1)[:length]
        start = place.offset + first
        return self.whole(place.rank, place.buffer, launch)[start : start + length]

    def write(self, place: Place, launch: int, first: int, data: Bytes) -> None:
        """Store bytes of data, in packets each together with the launch's flag."""
        if not place.packet:
            start = place.offset + first
            self.whole(place.rank, place.buffer, launch)[start : start + len(data)] = data
            return
        packets = self._packets(place, launch, first, len(data))
        padded = np.zeros(len(packets) * PACKET_DATA, np.uint8)
        padded[: len(data)] = data
        packets[:, :PACKET_DATA] = padded.reshape(-1, PACKET_DATA)
        packets[:, PACKET_DATA:] = np.frombuffer(np.uint32(launch).tobytes(), np.uint8)

    def arrived(self, place: Place, launch: int, first: int, length: int) -> tuple[int, int]:
        """How many packets a range of an operand has, and how many of them carry the flag of the launch."""
        flags = self._packets(place, launch, first, length)[:, PACKET_DATA:].copy().view(np.uint32)
        return len(flags), int(np.count_nonzero(flags == launch))

    def _packets(self, place: Place, launch: int, first: int, length: int) -> Bytes:
        """The packets of a range, one a row; ranges begin at a multiple of `PACKET_DATA`."""
        rows = self.whole(place.rank, place.buffer, launch).reshape(-1, 2 * PACKET_DATA)
        start = (place.offset + 2 * first) // (2 * PACKET_DATA)
        return rows[start : start - (-length // PACKET_DATA)]


def _garbage(launch: int) -> int:
    """A byte that differs from launch to launch and is neither zero nor part of a flag."""
    return 0xA0 + launch % 16


def _apart(rank: int, plan: Plan, layout: Layout, given: int) -> tuple[Bytes, Bytes]:
    return np.empty(given, np.uint8), np.empty(needed(layout.outputs[rank]), np.uint8)


def _shared(rank: int, plan: Plan, layout: Layout, given: int) -> tuple[Bytes, Bytes]:
    places = layout.shared(plan, rank)
    if places is None:
        return _apart(rank, plan, layout, given)
    first, output = places
    size = needed(layout.outputs[rank])
    both = np.empty(max(first + given, output + size), np.uint8)
    return both[first : first + given], both[output : output + size]
