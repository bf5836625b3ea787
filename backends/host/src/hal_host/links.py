"""Members of a group that share no memory with this one: a connection to each, and a mirror of its block here.

`native/link.h` says what is written where. All of a group's connections are made when the group is.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable

from hal.interface.device import Memory
from hal.interface.errors import HalError, NotSupported, StallTimeout, TransportError
from hal.interface.executor import Membership
from hal.interface.transport import Connection, Registration, Transport
from hal.plan.lower import walk
from hal.plan.memo import once_per_plan
from hal.plan.model import Move, Plan, Span
from hal_host import _native
from hal_host.segment import Segment

_PATIENCE = 2.0
"""Seconds for a call of another thread to end once the group is left."""


class Links:
    """The connections of one member. Every member makes its own at the same time."""

    def __init__(self, membership: Membership, segment: Segment, block: int, nbytes: int) -> None:
        self.mirrors: dict[int, int] = {}
        """For each remote member the address of its mirror."""
        self.native: list[_native.Link | None] = [None] * membership.size
        self._segment = segment
        self._timeout = membership.timeout
        self._connections: list[Connection] = []
        self._registrations: list[Registration] = []
        try:
            self._connect(membership, block, nbytes)
        except BaseException:
            self._disconnect()
            self.free()
            raise

    def _connect(self, membership: Membership, block: int, nbytes: int) -> None:
        transports = {m: t for m, t in enumerate(membership.transports) if t is not None}
        blocks = {t: self._register(t, block, nbytes) for t in dict.fromkeys(transports.values())}
        mirrors: dict[int, Registration] = {}
        endpoints: dict[int, bytes] = {}
        for member, transport in transports.items():
            self.mirrors[member] = self._segment.allocate(nbytes, zero=True)
            mirrors[member] = self._register(transport, self.mirrors[member], nbytes)
            endpoints[member] = transport.endpoint()
        offers = {
            member: [part.hex() for part in (endpoints[member], blocks[transport].key, mirrors[member].key)]
            for member, transport in transports.items()
        }
        said = [json.loads(value) for value in membership.exchange(json.dumps(offers).encode())]
        # all take the pairs in one order, so that the first one that is not connected has both of its ends at work
        me = membership.rank
        for member in sorted(transports, key=lambda other: (min(me, other), max(me, other))):
            transport = transports[member]
            endpoint, peer_block, peer_mirror = (bytes.fromhex(part) for part in said[member][str(me)])
            try:
                connection = transport.connect(endpoints[member], endpoint, self._timeout)
            except (StallTimeout, TransportError) as error:
                who = membership.world_ranks
                raise type(error)(error.message, rank=who[me], peer=who[member], operation="connect") from None
            self._connections.append(connection)
            self.native[member] = _native.Link(
                connection.native(),
                connection,
                block,
                blocks[transport].handle,
                self.mirrors[member],
                mirrors[member].handle,
                connection.resolve(peer_block),
                connection.resolve(peer_mirror),
            )

    def _register(self, transport: Transport, address: int, nbytes: int) -> Registration:
        registration = transport.register(Memory(address, nbytes, None))
        self._registrations.append(registration)
        return registration

    def close(self, lane: _native.Lane, linger: bool) -> None:
        """Disconnect, once this member has left its lanes. What was sent arrives, unless the peer does not take it.

        With `linger` the others first complete their last calls, in which they may read this member's memory.
        """
        end = time.monotonic() + (self._timeout if linger else 0)
        while linger and not lane.settled() and time.monotonic() < end:
            time.sleep(1e-3)
        end = time.monotonic() + _PATIENCE
        while lane.running and time.monotonic() < end:
            time.sleep(1e-3)
        self._disconnect()

    def _disconnect(self) -> None:
        for link in self.native:
            if link is not None:
                link.detach()
        while self._connections:
            connection = self._connections.pop()
            with contextlib.suppress(HalError):
                connection.flush(_PATIENCE)  # not every transport does it on closing
            connection.close()
        while self._registrations:
            self._registrations.pop().close()

    def free(self) -> None:
        """Free the mirrors, when nothing looks at them any more."""
        while self.mirrors:
            with contextlib.suppress(KeyError):
                self._segment.free(self.mirrors.popitem()[1])


@once_per_plan
def reads_others(plan: Plan) -> bool:
    """Whether some instruction of a plan reads the scratch of another rank. `NotSupported` where it awaits packets."""
    others = [span for span in _sources(plan) if span.peer is not None or span.switch is not None]
    if any(span.packet for span in others):
        raise NotSupported(
            f"plan {plan.name!r} awaits packets in the memory of other ranks, and some ranks of this group share no "
            "memory: take another algorithm"
        )
    return bool(others)


def _sources(plan: Plan) -> Iterable[Span]:
    for block in (block for rank in plan.ranks for block in rank.blocks):
        for instruction in walk(block):
            if isinstance(instruction, Move):
                yield from instruction.src
