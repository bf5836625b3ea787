"""Message sizes and bandwidths as nccl-tests defines them.

Counts are those of each test's `GetCollByteCount`, bandwidths those of its `GetBw`, explained in nccl-tests'
`doc/PERFORMANCE.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

from hal.interface.errors import UsageError
from hal.plan.collective import Collective

MEASURED = (
    Collective.ALL_REDUCE,
    Collective.ALL_GATHER,
    Collective.REDUCE_SCATTER,
    Collective.BROADCAST,
    Collective.REDUCE,
    Collective.GATHER,
    Collective.SCATTER,
    Collective.ALL_TO_ALL,
    Collective.SEND_RECV,
    Collective.BARRIER,
)
"""What can be measured, in the order of `hal bench all`."""

IN_PLACE = tuple(one for one in MEASURED if one not in (Collective.SEND_RECV, Collective.BARRIER))
"""The collectives that have an in-place form."""

_WHOLE_MESSAGE = (Collective.ALL_REDUCE, Collective.BROADCAST, Collective.REDUCE, Collective.SEND_RECV)


@dataclass(frozen=True)
class Message:
    """The elements of one call: those that a rank sends, those it receives, and `count`, the call's parameter."""

    send: int
    receive: int
    count: int

    @property
    def elements(self) -> int:
        """The elements that the size column counts: those of the larger buffer."""
        return max(self.send, self.receive)


def message(collective: Collective, elements: int, ranks: int) -> Message:
    """The largest call whose larger buffer holds at most `elements` elements.

    Where each rank contributes a block (all_gather, reduce_scatter, gather, scatter, all_to_all), the larger buffer
    holds one block for each rank and `count` is the length of a block: `elements` divided by `ranks`, rounded down.
    """
    if collective is Collective.BARRIER:
        return Message(0, 0, 0)
    if collective in _WHOLE_MESSAGE:
        return Message(elements, elements, elements)
    block = elements // ranks
    match collective:
        case Collective.ALL_GATHER | Collective.GATHER:
            return Message(block, block * ranks, block)
        case Collective.REDUCE_SCATTER | Collective.SCATTER:
            return Message(block * ranks, block, block)
        case Collective.ALL_TO_ALL:
            return Message(block * ranks, block * ranks, block)
        case _:
            raise UsageError(f"{collective.label} cannot be measured")


def algorithm_bandwidth(size: int, seconds: float) -> float:
    """`S / t` in GB/s (1e9 bytes): S the bytes of the larger buffer, t the time of one call."""
    return size / seconds / 1e9 if size else 0.0


def bus_factor(collective: Collective, ranks: int) -> float:
    """What the algorithm bandwidth is multiplied by to give the bus bandwidth, which does not depend on `ranks`.

    `2(n-1)/n` for all_reduce; `(n-1)/n` for all_gather, reduce_scatter, gather, scatter and all_to_all; 1 for
    broadcast, reduce and send_recv (nccl-tests, `doc/PERFORMANCE.md` and each test's `GetBw`). 0 for barrier, which
    carries nothing.
    """
    match collective:
        case Collective.ALL_REDUCE:
            return 2 * (ranks - 1) / ranks
        case Collective.BROADCAST | Collective.REDUCE | Collective.SEND_RECV:
            return 1.0
        case Collective.BARRIER:
            return 0.0
        case _:
            return (ranks - 1) / ranks
