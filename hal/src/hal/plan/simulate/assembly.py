"""From what a topology file says to the graph that it means."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from hal.config.document import KeyPath
from hal.interface.errors import unknown_name
from hal.plan.simulate.description import Cable, Description, Edge, FatTree, Graph, OneNode, Rank
from hal.plan.simulate.topology import UNLIMITED, Compute, Topology

MOST_RANKS = 65536
MOST_LINKS = 1 << 20
_LARGEST_MESH = 256


def faults(description: Description) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong with values that are allowed one by one: the path of a key and a sentence."""
    match description:
        case OneNode():
            yield from _of_a_node(description.ranks, ("ranks",), description.wiring)
        case FatTree():
            yield from _of_a_tree(description)
        case Graph():
            yield from _of_a_graph(description)


def assemble(description: Description, name: str) -> Topology:
    """The topology of a description without faults."""
    match description:
        case OneNode():
            topology = Topology(description.ranks, _compute(description.rank), description.wiring == "ring", name)
            _wire(topology, range(description.ranks), description.wiring, description.link, "switch")
        case FatTree():
            topology = _tree(description, name)
        case Graph():
            topology = _graph(description, name)
    if description.processors is not None and not isinstance(description, FatTree):
        topology.share_processors(range(description.ranks), description.processors)
    return topology


def _of_a_node(ranks: int, path: KeyPath, wiring: str) -> Iterator[tuple[KeyPath, str]]:
    if ranks > MOST_RANKS:
        yield path, f"{ranks} are too many: allowed are at most {MOST_RANKS}"
    elif wiring == "mesh" and ranks > _LARGEST_MESH:
        yield ("wiring",), f"a mesh of {ranks} ranks has too many links: allowed are at most {_LARGEST_MESH} ranks"


def _of_a_tree(tree: FatTree) -> Iterator[tuple[KeyPath, str]]:
    yield from _of_a_node(tree.ranks_per_node, ("ranks_per_node",), tree.wiring)
    if tree.nodes * tree.ranks_per_node > MOST_RANKS:
        yield ("nodes",), f"{tree.nodes * tree.ranks_per_node} ranks in all: allowed are at most {MOST_RANKS}"
    if tree.adapters_per_node is not None and tree.ranks_per_node % tree.adapters_per_node:
        yield (
            ("adapters_per_node",),
            f"{tree.adapters_per_node} adapters cannot be shared evenly by {tree.ranks_per_node} ranks: "
            "allowed are its divisors",
        )
    leaves = -(-tree.nodes // tree.nodes_per_leaf)
    if leaves > 1 and tree.uplink is None:
        yield (), f"lacks the key uplink: {leaves} leaf switches have to be connected"
    if leaves * tree.spines > MOST_LINKS:
        yield ("spines",), f"{leaves} leaf and {tree.spines} spine switches have too many links"
    if tree.wiring == "ring" and tree.nodes > 1:
        yield ("wiring",), "a ring inside nodes of a fat tree is not supported: allowed are switch, mesh"


def _of_a_graph(graph: Graph) -> Iterator[tuple[KeyPath, str]]:
    yield from _of_a_node(graph.ranks, ("ranks",), "switch")
    for index, name in enumerate(graph.switches):
        if name in graph.switches[:index]:
            yield ("switches", index), f"{name!r} is named twice"
    for index, edge in enumerate(graph.links):
        for place, end in enumerate(edge.between):
            if isinstance(end, int) and end >= graph.ranks:
                yield ("links", index, "between", place), f"there is no rank {end}: allowed are 0 to {graph.ranks - 1}"
            elif isinstance(end, str) and end not in graph.switches:
                yield ("links", index, "between", place), unknown_name("switch", end, graph.switches)
        if edge.between[0] == edge.between[1]:
            yield ("links", index, "between"), "connects a vertex with itself"
        if edge.bandwidth is None and graph.link is None:
            yield ("links", index), "lacks the key bandwidth, which no key link of the graph gives either"


def _compute(rank: Rank) -> Compute:
    given = {name: value for name, value in attrs.asdict(rank).items() if value is not None}
    return Compute(**given)


def _wire(topology: Topology, ranks: range, wiring: str, link: Cable, switch: str) -> None:
    terms = (link.bandwidth, link.latency, link.duplex)
    if wiring == "switch":
        hub = topology.add_switch(switch)
        for rank in ranks:
            topology.connect(rank, hub, *terms)
        return
    for i, rank in enumerate(ranks):
        others = ranks[i + 1 :] if wiring == "mesh" else [ranks[(i + 1) % len(ranks)]]
        if wiring == "ring" and (len(ranks) == 1 or (len(ranks) == 2 and i == 1)):
            others = []
        for other in others:
            topology.connect(rank, other, *terms)


def _tree(tree: FatTree, name: str) -> Topology:
    per_node = tree.ranks_per_node
    topology = Topology(tree.nodes * per_node, _compute(tree.rank), tree.wiring == "ring", name)
    leaves = [topology.add_switch(f"leaf {i}") for i in range(-(-tree.nodes // tree.nodes_per_leaf))]
    if len(leaves) > 1 and tree.uplink is not None:
        for spine in (topology.add_switch(f"spine {i}") for i in range(tree.spines)):
            for leaf in leaves:
                topology.connect(leaf, spine, tree.uplink.bandwidth, tree.uplink.latency, tree.uplink.duplex)
    adapters = per_node if tree.adapters_per_node is None else tree.adapters_per_node
    for node in range(tree.nodes):
        ranks = range(node * per_node, (node + 1) * per_node)
        _wire(topology, ranks, tree.wiring, tree.link, f"switch of node {node}")
        if tree.processors is not None:
            topology.share_processors(ranks, tree.processors)
        leaf = leaves[node // tree.nodes_per_leaf]
        for number in range(adapters):
            members = ranks[number * (per_node // adapters) : (number + 1) * (per_node // adapters)]
            _adapter(topology, members, leaf, tree.network, f"adapter {number} of node {node}")
    return topology


def _adapter(topology: Topology, ranks: range, leaf: int, network: Cable, name: str) -> None:
    """Connect ranks to a leaf switch through one adapter: a way out and a way in, so that none leads through it."""
    if len(ranks) == 1:
        topology.connect(ranks[0], leaf, network.bandwidth, network.latency, network.duplex)
        return
    way_out, way_in = topology.add_switch(name), topology.add_switch(name)
    for rank in ranks:
        topology.connect_one_way(rank, way_out, UNLIMITED, 0.0)
        topology.connect_one_way(way_in, rank, UNLIMITED, 0.0)
    topology.connect_pair(way_out, leaf, leaf, way_in, network.bandwidth, network.latency, network.duplex)


def _graph(graph: Graph, name: str) -> Topology:
    topology = Topology(graph.ranks, _compute(graph.rank), graph.forward, name)
    switches = {switch: topology.add_switch(switch) for switch in graph.switches}
    for edge in graph.links:
        first, second = (end if isinstance(end, int) else switches[end] for end in edge.between)
        topology.connect(first, second, *_terms(edge, graph.link))
    return topology


def _terms(edge: Edge, common: Cable | None) -> tuple[float, float, str]:
    bandwidth = edge.bandwidth if edge.bandwidth is not None else common.bandwidth if common else UNLIMITED
    latency = edge.latency if edge.latency is not None else common.latency if common else 0.0
    duplex = edge.duplex or (common.duplex if common else "full")
    return bandwidth, latency, duplex
