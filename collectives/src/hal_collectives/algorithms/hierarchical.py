"""all_reduce over two classes of links: fast ones inside a node, slow ones between nodes.

Ranks are numbered node by node. In a node the ranks share the message out: each reduces one section of it for its node.
Then those of all nodes that have the same section reduce it among each other, each one slice of it, so that across
nodes a rank sends less than twice the message divided by the ranks of a node. Last the sections are gathered in the
node. All three steps are of the kind in which everybody deals with all others of the group at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hal.interface.errors import UsageError
from hal.plan.builder import BlockBuilder, BufferBuilder, PlanBuilder, RankBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.registry import algorithm


def usual_node(size: int) -> int:
    """The largest divisor of `size` that is at most its square root: groups as equal as can be."""
    return next(n for n in range(math.isqrt(size), 0, -1) if size % n == 0)


def shape(size: int, ranks_per_node: int | None) -> tuple[int, int]:
    """Ranks of a node, by default those of `usual_node`, and nodes; `UsageError` where they do not divide `size`."""
    inside = usual_node(size) if ranks_per_node is None else ranks_per_node
    if inside < 1 or size % inside:
        raise UsageError(f"{size} ranks are not nodes of {inside} ranks each: allowed are the divisors of {size}")
    return inside, size // inside


@algorithm(
    "all_reduce",
    name="hierarchical",
    description="reduce-scatter inside nodes, all_reduce between them, all-gather inside; scratch of two messages",
    in_order=False,
    by_node=True,
)
def all_reduce(size: int, ranks_per_node: int | None = None) -> Plan:
    """Four synchronisations, each in a node or between the ranks of the same place in all nodes.

    `ranks_per_node` is by default that of `usual_node`. `UsageError` where it does not divide `size`.
    """
    inside, _ = shape(size, ranks_per_node)
    p = PlanBuilder("all_reduce", name="hierarchical", ranks=size, split=size)
    for rank in p.ranks:
        node, place = divmod(rank.id, inside)
        _Member(rank, p.ranks[node * inside : (node + 1) * inside], p.ranks[place::inside]).run()
    return p.build()


class _Member:
    """The block of one rank. `peers` are the ranks of its node, `fellows` those of its place in all nodes.

    Section i of the message is that of place i, one chunk for each node. Scratch holds, one after the other: the own
    section as every peer has it, the own slice as every fellow has it, the reduced slices, and the reduced sections.
    """

    def __init__(self, rank: RankBuilder, peers: Sequence[RankBuilder], fellows: Sequence[RankBuilder]) -> None:
        self.rank = rank
        self.peers = peers
        self.fellows = fellows
        self.place = peers.index(rank)
        self.node = fellows.index(rank)
        self.block = rank.block()
        self.chunks = len(fellows)
        self.slices = len(peers) * self.chunks
        self.results = self.slices + self.chunks
        self.sections = self.results + self.chunks

    def run(self) -> None:
        """All instructions of the block."""
        mine = self.rank.input
        if len(self.peers) > 1:
            self.reduce_section()
            mine = self.rank.output
        self.all_reduce_section(mine)
        if len(self.peers) > 1:
            self.block.sync()
            self.gather_sections()

    def all_reduce_section(self, mine: BufferBuilder) -> None:
        """The own section reduced over all nodes, into the output, from the sums of this node that `mine` holds."""
        others = _from(self.fellows, self.node)
        if not others:
            section = self.section(self.place)
            self.block.reduce(self.rank.output[section], [mine[section]], final=True)
            return
        for other in others:
            give = other.id // len(self.peers)
            self.block.copy(other.scratch[self.slices + self.node], mine[self.chunk(give)])
        _exchange(self.block, others)
        own = self.chunk(self.node)
        sums = [
            mine[own] if fellow is self.rank else self.rank.scratch[self.slices + i]
            for i, fellow in enumerate(self.fellows)
        ]
        self.block.reduce(
            [self.rank.output[own], *(other.scratch[self.results + self.node] for other in others)], sums, final=True
        )
        _exchange(self.block, others)
        for other in others:
            got = other.id // len(self.peers)
            self.block.copy(self.rank.output[self.chunk(got)], self.rank.scratch[self.results + got])

    def reduce_section(self) -> None:
        """The sum of the node in the own section of the output."""
        others = _from(self.peers, self.place)
        for other in others:
            theirs = self.section(other.id % len(self.peers))
            self.block.copy(other.scratch[self.room(self.place)], self.rank.input[theirs])
        _exchange(self.block, others)
        sums = [
            self.rank.input[self.section(i)] if peer is self.rank else self.rank.scratch[self.room(i)]
            for i, peer in enumerate(self.peers)
        ]
        self.block.reduce(self.rank.output[self.section(self.place)], sums)
        self.block.sync()

    def gather_sections(self) -> None:
        """The reduced sections of all peers in the output."""
        others = _from(self.peers, self.place)
        here = self.room(self.place, self.sections)
        self.block.copy([other.scratch[here] for other in others], self.rank.output[self.section(self.place)])
        _exchange(self.block, others)
        for other in others:
            place = other.id % len(self.peers)
            self.block.copy(self.rank.output[self.section(place)], self.rank.scratch[self.room(place, self.sections)])

    def chunk(self, node: int) -> int:
        """The chunk of the own section that is reduced by the fellow in that node."""
        return self.place * self.chunks + node

    def section(self, place: int) -> slice:
        """The chunks of a section."""
        return slice(place * self.chunks, (place + 1) * self.chunks)

    def room(self, place: int, offset: int = 0) -> slice:
        """Scratch for a section from a peer, from chunk `offset` on."""
        return slice(offset + place * self.chunks, offset + (place + 1) * self.chunks)


def _from(group: Sequence[RankBuilder], place: int) -> list[RankBuilder]:
    """The others of a group, from the next one round."""
    return [*group[place + 1 :], *group[:place]]


def _exchange(block: BlockBuilder, others: Sequence[RankBuilder]) -> None:
    block.signal(others)
    block.wait(others)
