"""Collectives over two classes of links, fast ones inside a node and slow ones between nodes, for any length.

Ranks are numbered node by node. The *peers* of a rank are those of its node, its *fellows* those of its place in the
other nodes. Ranks of one node share out what goes to other nodes, each what its fellows have or need: across nodes a
rank deals with its fellows alone, and sends a part of what it would send them and their peers.

All go piece by piece through bounded scratch, and in each piece peers meet, and fellows. What others read in a rank's
scratch they read before they meet it next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hal.plan.builder import BlockBuilder, PlanBuilder, RankBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.hierarchical import shape
from hal_collectives.algorithms.registry import algorithm
from hal_collectives.algorithms.staging import unit_for


@dataclass(frozen=True)
class _Member:
    """A rank, its node and its place there; `peers` and `fellows` hold the rank itself at its own index."""

    rank: RankBuilder
    peers: Sequence[RankBuilder]
    fellows: Sequence[RankBuilder]
    place: int
    node: int
    block: BlockBuilder

    @property
    def places(self) -> int:
        """Ranks of a node."""
        return len(self.peers)

    @property
    def nodes(self) -> int:
        """Nodes."""
        return len(self.fellows)

    @property
    def other_places(self) -> list[int]:
        """From the next one round."""
        return [*range(self.place + 1, self.places), *range(self.place)]

    @property
    def other_nodes(self) -> list[int]:
        """From the next one round."""
        return [*range(self.node + 1, self.nodes), *range(self.node)]

    def meet_peers(self) -> None:
        """Meet the ranks of the node."""
        self._meet([self.peers[place] for place in self.other_places])

    def meet_fellows(self) -> None:
        """Meet those of the same place in all nodes."""
        self._meet([self.fellows[node] for node in self.other_nodes])

    def _meet(self, others: Sequence[RankBuilder]) -> None:
        if others:
            self.block.signal(others)
            self.block.wait(others)
        else:
            self.block.sync()


def _members(p: PlanBuilder, inside: int) -> list[_Member]:
    found = []
    for rank in p.ranks:
        node, place = divmod(rank.id, inside)
        peers, fellows = p.ranks[node * inside : (node + 1) * inside], p.ranks[place::inside]
        found.append(_Member(rank, peers, fellows, place, node, rank.block()))
    return found


@algorithm(
    "all_reduce",
    name="hierarchical_staged",
    description="reduce-scatter inside nodes, all_reduce between them, all-gather inside; bounded scratch",
    in_order=False,
    by_node=True,
)
def all_reduce(size: int, ranks_per_node: int | None = None) -> Plan:
    """Four meetings a piece, two in the node and two with the fellows: one slot suffices.

    `ranks_per_node` is by default that of `usual_node`. `UsageError` where it does not divide `size`.
    """
    inside, nodes = shape(size, ranks_per_node)
    unit = unit_for(chunks=size + 2 * nodes, slots=1)
    p = PlanBuilder("all_reduce", name="hierarchical_staged", ranks=size, split=size, scratch_chunk_bytes=unit)
    for member in _members(p, inside):
        with member.block.loop(unit):
            _all_reduce(member)
    return p.build()


def _all_reduce(m: _Member) -> None:
    """Chunk `place * nodes + node` is reduced by the rank there.

    Scratch holds the input as peers read it, then the own chunk as each fellow has it, then the reduced chunks of the
    own place.
    """
    rank, block, nodes = m.rank, m.block, m.nodes
    sums, results = m.places * nodes, m.places * nodes + nodes
    for place in m.other_places:
        for node in range(nodes):
            block.copy(rank.scratch[place * nodes + node], rank.input[place * nodes + node])
    m.meet_peers()
    own = m.place * nodes + m.node
    for node in [*m.other_nodes, m.node]:
        chunk = m.place * nodes + node
        parts = [rank.input[chunk] if peer is rank else peer.scratch[chunk] for peer in m.peers]
        target = rank.output[own] if node == m.node else m.fellows[node].scratch[sums + m.node]
        block.reduce(target, parts)
    m.meet_fellows()
    parts = [rank.output[own] if fellow is rank else rank.scratch[sums + i] for i, fellow in enumerate(m.fellows)]
    everywhere = [fellow.scratch[results + m.node] for fellow in m.fellows]
    block.reduce([rank.output[own], *everywhere], parts, final=True)
    m.meet_fellows()
    for node in m.other_nodes:
        block.copy(rank.output[m.place * nodes + node], rank.scratch[results + node])
    m.meet_peers()
    for place in m.other_places:
        for node in range(nodes):
            block.copy(rank.output[place * nodes + node], m.peers[place].scratch[results + node])


@algorithm(
    "reduce_scatter",
    name="hierarchical_staged",
    description="partial sums of each node go to their owners' nodes; bounded scratch",
    variable=True,
    in_order=False,
    by_node=True,
)
def reduce_scatter(size: int, ranks_per_node: int | None = None) -> Plan:
    """Two meetings a piece, and two slots."""
    inside, nodes = shape(size, ranks_per_node)
    unit = unit_for(chunks=size + nodes, slots=2)
    p = PlanBuilder("reduce_scatter", name="hierarchical_staged", ranks=size, scratch_chunk_bytes=2 * unit)
    for member in _members(p, inside):
        with member.block.loop(unit, slots=2):
            _reduce_scatter(member)
    return p.build()


def _reduce_scatter(m: _Member) -> None:
    """Scratch holds the input as peers read it, then the own block as each node has it."""
    rank, block, places = m.rank, m.block, m.places
    sums = places * m.nodes
    for place in m.other_places:
        for node in range(m.nodes):
            block.copy(rank.scratch[node * places + place], rank.input[node * places + place])
    m.meet_peers()
    for node in [*m.other_nodes, m.node]:
        chunk = node * places + m.place
        parts = [rank.input[chunk] if peer is rank else peer.scratch[chunk] for peer in m.peers]
        if m.nodes == 1:
            block.reduce(rank.output[0], parts, final=True)
        else:
            block.reduce(m.fellows[node].scratch[sums + m.node], parts)
    if m.nodes == 1:
        return
    m.meet_fellows()
    block.reduce(rank.output[0], [rank.scratch[sums + node] for node in range(m.nodes)], final=True)


@algorithm(
    "all_gather",
    name="hierarchical_staged",
    description="each rank gets the blocks of its fellows, and all in a node share what they got; bounded scratch",
    variable=True,
    by_node=True,
)
def all_gather(size: int, ranks_per_node: int | None = None) -> Plan:
    """Two meetings a piece, and two slots: a fellow hears by its own peers that those here have read a slot."""
    inside, nodes = shape(size, ranks_per_node)
    unit = unit_for(chunks=nodes, slots=2)
    p = PlanBuilder("all_gather", name="hierarchical_staged", ranks=size, scratch_chunk_bytes=2 * unit)
    for member in _members(p, inside):
        with member.block.loop(unit, slots=2):
            _all_gather(member)
    return p.build()


def _all_gather(m: _Member) -> None:
    """Scratch holds the blocks of all fellows."""
    rank, block, places = m.rank, m.block, m.places
    block.copy([rank.output[rank.id], *(fellow.scratch[m.node] for fellow in m.fellows)], rank.input[0])
    m.meet_fellows()
    for node in m.other_nodes:
        block.copy(rank.output[node * places + m.place], rank.scratch[node])
    m.meet_peers()
    for place in m.other_places:
        for node in range(m.nodes):
            block.copy(rank.output[node * places + place], m.peers[place].scratch[node])


@algorithm(
    "all_to_all",
    name="hierarchical_staged",
    description="each rank passes on to its fellows what its whole node has for them; bounded scratch",
    by_node=True,
)
def all_to_all(size: int, ranks_per_node: int | None = None) -> Plan:
    """Two meetings a piece, and two slots."""
    inside, _ = shape(size, ranks_per_node)
    unit = unit_for(chunks=2 * size, slots=2)
    p = PlanBuilder("all_to_all", name="hierarchical_staged", ranks=size, scratch_chunk_bytes=2 * unit)
    for member in _members(p, inside):
        with member.block.loop(unit, slots=2):
            _all_to_all(member)
    return p.build()


def _all_to_all(m: _Member) -> None:
    """Scratch holds the input as peers read it, then what fellows pass on.

    What is passed on goes through the output, whose piece is free: the input's lies in scratch, and in place they are
    the same memory.
    """
    rank, block, places = m.rank, m.block, m.places
    size = places * m.nodes
    for target in range(size):
        if target != rank.id:
            block.copy(rank.scratch[target], rank.input[target])
    block.copy(rank.output[rank.id], rank.input[rank.id])
    if size > 1:
        block.sync()
    m.meet_peers()
    for node in m.other_nodes:
        for place in range(places):
            passed = m.fellows[node].scratch[size + m.node * places + place]
            mine = m.peers[place].scratch[node * places + m.place]
            block.copy([rank.output[node * places + place], passed], mine)
    for place in m.other_places:
        block.copy(rank.output[m.node * places + place], m.peers[place].scratch[rank.id])
    if m.nodes > 1:
        m.meet_fellows()
        for node in m.other_nodes:
            for place in range(places):
                source = node * places + place
                block.copy(rank.output[source], rank.scratch[size + source])
