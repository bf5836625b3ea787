"""Binomial trees: log2(n) steps, every rank waiting for few others.

Ranks are counted from the root. The parent of a rank is found by clearing its lowest set bit; its children by setting
one of the zero bits below that. So the subtree of a child is a range of ranks, and sums stay in rank order.
"""

from __future__ import annotations

from hal.plan.builder import BlockBuilder, PlanBuilder, RankBuilder
from hal.plan.model import Plan
from hal_collectives.algorithms.registry import algorithm


class Node:
    """The place of a rank in the tree below `root`: its parent (None at the root), its children from near to far."""

    def __init__(self, rank: RankBuilder, root: int) -> None:
        ranks = rank.plan.ranks
        size = len(ranks)
        place = (rank.id - root) % size
        below = place & -place if place else size
        bits = [1 << k for k in range(size.bit_length()) if 1 << k < below]
        self.parent = ranks[(place - below + root) % size] if place else None
        self.children = [ranks[(place + bit + root) % size] for bit in bits if place + bit < size]


def slot(child: RankBuilder, parent: RankBuilder) -> int:
    """The scratch chunk of `parent` that `child` sends to: as many as there are bits in their distance."""
    return ((child.id - parent.id) % len(child.plan.ranks)).bit_length()


def send_up(block: BlockBuilder, node: Node) -> None:
    """Reduce the own input and the children's sums, to the parent; at the root to the output."""
    rank = block.rank
    if node.children:
        block.wait(node.children)
    sums = [rank.input[0], *(rank.scratch[slot(child, rank)] for child in node.children)]
    if node.parent is None:
        block.reduce(rank.output[0], sums, final=True)
    else:
        block.reduce(node.parent.scratch[slot(rank, node.parent)], sums)
        block.signal([node.parent])


def send_down(block: BlockBuilder, node: Node) -> None:
    """Pass the parent's message on to the children, keeping it in the output.

    It travels in scratch chunk 0, which no child sends to. At the root it is the output itself.
    """
    rank = block.rank
    onward = [child.scratch[0] for child in node.children]
    if node.parent is None:
        if onward:
            block.copy(onward, rank.output[0])
    else:
        block.wait([node.parent])
        block.copy([rank.output[0], *onward], rank.scratch[0])
    if node.children:
        block.signal(node.children)


@algorithm(
    "all_reduce",
    name="binomial_tree",
    description="sums go up a binomial tree to rank 0, the result down again; scratch of log2(n) messages",
    in_order=False,
)
def all_reduce(size: int) -> Plan:
    """Twice log2(n) steps of the whole message."""
    p = PlanBuilder("all_reduce", name="binomial_tree", ranks=size)
    for rank in p.ranks:
        block, node = rank.block(), Node(rank, 0)
        send_up(block, node)
        block.sync()
        send_down(block, node)
    return p.build()


@algorithm(
    "broadcast",
    name="binomial_tree",
    description="the message goes down a binomial tree; scratch as large as the message",
)
def broadcast(size: int, root: int) -> Plan:
    """log2(n) steps of the whole message."""
    p = PlanBuilder("broadcast", name="binomial_tree", ranks=size, root=root)
    for rank in p.ranks:
        block = rank.block()
        if rank.id == root:
            block.copy(rank.output[0], rank.input[0])
            block.sync()
        send_down(block, Node(rank, root))
    return p.build()


@algorithm(
    "reduce",
    name="binomial_tree",
    description="sums go up a binomial tree to the root; scratch of log2(n) messages",
    in_order=False,
)
def reduce(size: int, root: int) -> Plan:
    """log2(n) steps of the whole message."""
    p = PlanBuilder("reduce", name="binomial_tree", ranks=size, root=root)
    for rank in p.ranks:
        send_up(rank.block(), Node(rank, root))
    return p.build()
