"""What ranks run on and what connects them: a graph of ranks and switches, with latencies and bandwidths.

The graph is directed; a cable is two links, one for each direction, unless it is half duplex. Between two ranks data
and signals take the route of least latency, among those the one of fewest links. Among equal routes the destination
chooses (destination modulo their number, as d-mod-k routing does in fat trees), so that a route never changes and
the routes from all sources to one rank share links rather than spread at random.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hal.interface.errors import ConfigError

UNLIMITED = math.inf
_PER_SECOND = 1e15
"""Latencies are compared in femtoseconds: whole numbers, so that equal sums are equal in any order."""


@dataclass(frozen=True, slots=True)
class Compute:
    """What a rank can do by itself: rates in bytes a second of one block, times in seconds."""

    copy: float = UNLIMITED
    """Bytes of one source to one destination."""
    reduce: float = UNLIMITED
    """Bytes of every further source that is combined with the first."""
    memory: float = UNLIMITED
    """Bytes read and written in this rank's memory, by all its blocks and all other ranks together."""
    launch: float = 0.0
    """Before the blocks begin."""
    overhead: float = 0.0
    """Of every instruction."""
    sync: float = 0.0
    """Of a sync, beside the overhead."""
    barrier: float = 0.0
    """Of a barrier once all its blocks have come, beside the overhead."""
    signal: float = 0.0
    """Of a signal for each of its channels, beside the overhead."""
    wait: float = 0.0
    """Of a wait for each of its channels once the signal is there, beside the overhead."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that moves share: a link, the memory of a rank, the processors of a node.

    `capacity` is in bytes a second for links and memory, and in processors for processors.
    """

    name: str
    kind: str
    capacity: float


@dataclass(frozen=True, slots=True)
class Route:
    """The way from one rank to another: its links (numbers of resources) and the sum of their latencies in seconds."""

    links: tuple[int, ...]
    latency: float


@dataclass(eq=False)
class Topology:
    """Ranks, switches and links. Build it with `add_switch` and `connect`, or read it with `load_topology`.

    Ranks are the vertices 0 to `size - 1`, switches those after. `forward` says whether ranks pass on what is meant
    for others, as they do in a ring or torus of ranks without switches.
    """

    size: int
    compute: Compute = field(default_factory=Compute)
    forward: bool = False
    name: str = "topology"
    resources: list[Resource] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._names = [f"rank {r}" for r in range(self.size)]
        # for each vertex its neighbours: vertex, latency in femtoseconds, resource (-1 where the link is unlimited)
        self._onward: list[list[tuple[int, int, int]]] = [[] for _ in range(self.size)]
        self._routes: dict[tuple[int, int], Route] = {}
        self._search: _Search | None = None
        self._processors: dict[int, int] = {}
        self._memory: list[int] = []
        if self.compute.memory < UNLIMITED:
            self._memory = [
                self._resource(f"memory of rank {r}", "memory", self.compute.memory) for r in range(self.size)
            ]

    def add_switch(self, name: str) -> int:
        """A new vertex that is no rank; returns its number."""
        self._names.append(name)
        self._onward.append([])
        return len(self._names) - 1

    def connect(self, first: int, second: int, bandwidth: float, latency: float, duplex: str = "full") -> None:
        """Connect two vertices both ways. Half duplex: both directions share the bandwidth."""
        self.connect_pair(first, second, second, first, bandwidth, latency, duplex)

    def connect_pair(
        self, out: int, into: int, back: int, home: int, bandwidth: float, latency: float, duplex: str = "full"
    ) -> None:
        """The two directions of one cable, from `out` to `into` and from `back` to `home`, where these differ."""
        forth = self._link(out, into, bandwidth, latency, None)
        self._link(back, home, bandwidth, latency, forth if duplex == "half" else None)

    def connect_one_way(self, first: int, second: int, bandwidth: float, latency: float) -> None:
        """Connect two vertices in one direction."""
        self._link(first, second, bandwidth, latency, None)

    def share_processors(self, ranks: Iterable[int], processors: float) -> None:
        """Let the moves of these ranks share so many processors: no more of them work at full speed at once."""
        members = list(ranks)
        shared = self._resource(f"processors of ranks {members[0]} to {members[-1]}", "processors", processors)
        self._processors.update(dict.fromkeys(members, shared))

    def memory_of(self, rank: int) -> int | None:
        """The resource that is the memory of `rank`; None where it is not limited."""
        return self._memory[rank] if self._memory else None

    def processors_of(self, rank: int) -> int | None:
        """The resource that the processors of `rank` are; None where they are not shared."""
        return self._processors.get(rank)

    def route(self, source: int, target: int) -> Route:
        """The route between two ranks; `ConfigError` where there is none."""
        found = self._routes.get((source, target))
        if found is None:
            if self._search is None or self._search.source != source:
                self._search = _Search(self, source)
            found = self._routes[source, target] = self._search.route(target)
        return found

    def neighbours(self, vertex: int) -> Sequence[tuple[int, int, int]]:
        """Where links lead from a vertex: the vertex, the latency in femtoseconds, the resource (-1 for none)."""
        return self._onward[vertex]

    def tree(self, routes: Sequence[Route]) -> Route:
        """All links of some routes, each once: the tree by which a switch multicasts, or reduces the other way."""
        links = dict.fromkeys(link for route in routes for link in route.links)
        return Route(tuple(links), max((route.latency for route in routes), default=0.0))

    def _link(self, first: int, second: int, bandwidth: float, latency: float, shared: int | None) -> int:
        if shared is not None:
            number = shared
        elif bandwidth == UNLIMITED:
            number = -1
        else:
            number = self._resource(f"{self._names[first]} -> {self._names[second]}", "link", bandwidth)
        self._onward[first].append((second, round(latency * _PER_SECOND), number))
        self._routes.clear()
        self._search = None
        return number

    def _resource(self, name: str, kind: str, capacity: float) -> int:
        self.resources.append(Resource(name, kind, capacity))
        return len(self.resources) - 1


class _Search:
    """Dijkstra's algorithm from one source, as far as the targets that were asked for; all best ways are kept."""

    def __init__(self, topology: Topology, source: int) -> None:
        self.topology = topology
        self.source = source
        self._best: dict[int, tuple[int, int]] = {source: (0, 0)}
        self._before: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self._heap = [(0, 0, source)]
        self._done: set[int] = set()

    def route(self, target: int) -> Route:
        """The route to a rank; `ConfigError` where there is none."""
        while target not in self._done:
            if not self._heap:
                raise ConfigError(f"{self.topology.name}: no way leads from rank {self.source} to rank {target}")
            self._reach(*heapq.heappop(self._heap))
        return Route(self._walk_back(target), self._best[target][0] / _PER_SECOND)

    def _reach(self, cost: int, hops: int, vertex: int) -> None:
        topology, best = self.topology, self._best
        if vertex in self._done:
            return
        self._done.add(vertex)
        if vertex < topology.size and vertex != self.source and not topology.forward:
            return  # a rank passes nothing on
        for following, latency, link in topology.neighbours(vertex):
            reached = (cost + latency, hops + 1)
            known = best.get(following)
            if known is None or reached < known:
                best[following] = reached
                self._before[following] = [(vertex, link)]
                heapq.heappush(self._heap, (*reached, following))
            elif reached == known:
                self._before[following].append((vertex, link))

    def _walk_back(self, target: int) -> tuple[int, ...]:
        links = []
        vertex = target
        while vertex != self.source:
            vertex, link = self._before[vertex][target % len(self._before[vertex])]
            if link >= 0:
                links.append(link)
        return tuple(reversed(links))
