"""What a topology file can say: one attrs class for each mapping in it, each key with its kind and its purpose."""

from __future__ import annotations

from typing import Any

import attrs

from hal.config import kinds
from hal.plan.simulate import quantities

KEY = "hal topology key"


@attrs.frozen
class About:
    """What is known of a key: how its value is read, or the attrs class of the mapping (or of each in the list)."""

    doc: str
    kind: kinds.Kind[Any] | None = None
    group: type | None = None
    many: bool = False


def _key(kind: kinds.Kind[Any], doc: str, default: object = attrs.NOTHING) -> Any:
    return attrs.field(default=default, metadata={KEY: About(doc, kind)})


def _of(group: type, doc: str, many: bool = False) -> dict[str, About]:
    """The metadata of a key whose value is a mapping, or a list of mappings."""
    return {KEY: About(doc, None, group, many)}


_BANDWIDTH = quantities.bandwidth()
_LATENCY = quantities.latency()
_COUNT = kinds.integer(1)
_DUPLEX = kinds.choice("full", "half")
_WIRING = kinds.choice("switch", "mesh", "ring")


def _switch_name(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError
    return str(quantities.vertex().read(raw))


def _yes_or_no() -> kinds.Kind[bool]:
    def read(raw: object) -> bool:
        if not isinstance(raw, bool):
            raise ValueError
        return raw

    return kinds.Kind("true or false", "true, false", read)


def _list_of(item: kinds.Kind[Any], what: str, length: int | None = None) -> kinds.Kind[tuple[Any, ...]]:
    def read(raw: object) -> tuple[Any, ...]:
        if not isinstance(raw, list) or (length is not None and len(raw) != length):
            raise ValueError
        problems, values = [], []
        for index, one in enumerate(raw):
            try:
                values.append(item(one))
            except ValueError as error:
                problems.append(((index,), str(error)))
        if problems:
            raise kinds.BadValue(problems)
        return tuple(values)

    return kinds.Kind(what, f"{what} as [a, b]", read)


@attrs.frozen(kw_only=True)
class Cable:
    """A link between two vertices, in both directions."""

    bandwidth: float = _key(_BANDWIDTH, "Bytes a second in each direction.")
    latency: float = _key(_LATENCY, "Time of the first byte.", 0.0)
    duplex: str = _key(_DUPLEX, "Whether the directions share the bandwidth (half).", "full")


@attrs.frozen(kw_only=True)
class Edge:
    """A link of a graph; what it does not say the `link` of the graph says."""

    between: tuple[int | str, int | str] = _key(_list_of(quantities.vertex(), "two vertices", 2), "What it connects.")
    bandwidth: float | None = _key(_BANDWIDTH, "Bytes a second in each direction.", None)
    latency: float | None = _key(_LATENCY, "Time of the first byte.", None)
    duplex: str | None = _key(_DUPLEX, "Whether the directions share the bandwidth (half).", None)


@attrs.frozen(kw_only=True)
class Rank:
    """What a rank can do by itself; a rate that is not given is not limited."""

    copy: float | None = _key(_BANDWIDTH, "What one block copies from one source to one destination.", None)
    reduce: float | None = _key(_BANDWIDTH, "What one block combines of every further source.", None)
    memory: float | None = _key(_BANDWIDTH, "What is read and written in the memory of a rank, by all.", None)
    launch: float = _key(_LATENCY, "Before the blocks begin.", 0.0)
    overhead: float = _key(_LATENCY, "Of every instruction.", 0.0)
    sync: float = _key(_LATENCY, "Of a sync, beside the overhead.", 0.0)
    barrier: float = _key(_LATENCY, "Of a barrier once all have come, beside the overhead.", 0.0)
    signal: float = _key(_LATENCY, "Of a signal for each of its channels, beside the overhead.", 0.0)
    wait: float = _key(_LATENCY, "Of a wait for each of its channels once signalled, beside the overhead.", 0.0)


@attrs.frozen(kw_only=True)
class OneNode:
    """Ranks in one node."""

    ranks: int = _key(_COUNT, "How many ranks.")
    link: Cable = attrs.field(metadata=_of(Cable, "Of each rank to the switch, or of each pair that is connected."))
    wiring: str = _key(_WIRING, "A switch, a link for every pair (mesh), or links between neighbours (ring).", "switch")
    rank: Rank = attrs.field(default=Rank(), metadata=_of(Rank, "What a rank can do."))
    processors: int | None = _key(_COUNT, "How many moves of all ranks run at full speed at once.", None)


@attrs.frozen(kw_only=True)
class FatTree:
    """Nodes below leaf switches below spine switches. Ranks are numbered node by node."""

    nodes: int = _key(_COUNT, "How many nodes.")
    ranks_per_node: int = _key(_COUNT, "How many ranks a node has.")
    link: Cable = attrs.field(metadata=_of(Cable, "Inside a node, as in one node."))
    wiring: str = _key(_WIRING, "Inside a node, as in one node.", "switch")
    adapters_per_node: int | None = _key(_COUNT, "Network adapters of a node, which its ranks share evenly.", None)
    network: Cable = attrs.field(metadata=_of(Cable, "From a network adapter to its leaf switch."))
    nodes_per_leaf: int = _key(_COUNT, "How many nodes a leaf switch has.")
    spines: int = _key(_COUNT, "How many spine switches, each connected to every leaf switch.", 1)
    uplink: Cable | None = attrs.field(
        default=None, metadata=_of(Cable, "From leaf to spine switch; needed for more than one leaf.")
    )
    rank: Rank = attrs.field(default=Rank(), metadata=_of(Rank, "What a rank can do."))
    processors: int | None = _key(_COUNT, "How many moves of a node's ranks run at full speed at once.", None)


@attrs.frozen(kw_only=True)
class Graph:
    """Any graph of ranks and switches."""

    ranks: int = _key(_COUNT, "How many ranks.")
    switches: tuple[str, ...] = _key(
        _list_of(kinds.Kind("the name of a switch", "a name that begins with a letter", _switch_name), "names"),
        "Names of the switches.",
        (),
    )
    link: Cable | None = attrs.field(default=None, metadata=_of(Cable, "What links have that do not say otherwise."))
    links: tuple[Edge, ...] = attrs.field(metadata=_of(Edge, "The links, each between two vertices.", many=True))
    forward: bool = _key(_yes_or_no(), "Whether ranks pass on what is meant for others.", False)
    rank: Rank = attrs.field(default=Rank(), metadata=_of(Rank, "What a rank can do."))
    processors: int | None = _key(_COUNT, "How many moves of all ranks run at full speed at once.", None)


Description = OneNode | FatTree | Graph

KINDS: dict[str, type[OneNode] | type[FatTree] | type[Graph]] = {
    "node": OneNode,
    "fat_tree": FatTree,
    "graph": Graph,
}
"""The classes by what the key `topology` of a file says."""
