"""How moves that run at the same time share links and other resources: weighted max-min fairness.

A flow uses each of its resources in proportion to its rate. The rates of all flows rise together until a resource is
used up or a flow reaches its own limit; those that this concerns stay there, the others rise on (progressive filling;
Bertsekas and Gallager, "Data Networks", 6.5.2; the model of flow-level simulators such as SimGrid). No flow can be
faster then without making one slower that is no faster than it, no link is left idle that a flow could use, and there
is no order among equals, as there would be with queues. What queues do to single packets is not modelled.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from math import inf

_ROUNDING = 1 + 1e-9


class Flow:
    """Bytes on their way; `rate` is in bytes a second, and holds from `since` on."""

    __slots__ = ("left", "limit", "rate", "since", "usage", "version")

    def __init__(self, usage: Sequence[tuple[int, float]], limit: float, left: float, since: float) -> None:
        self.usage = usage
        self.limit = limit
        self.left = left
        self.rate = 0.0
        self.since = since
        self.version = 0


class Sharing:
    """The flows under way. Numbers of flows are the caller's; those of resources count `capacities`."""

    def __init__(self, capacities: Sequence[float]) -> None:
        self._capacities = capacities
        self._wanted = [0.0] * len(capacities)
        self._users: list[dict[int, float]] = [{} for _ in capacities]
        self._flows: dict[int, Flow] = {}
        self._stale: set[int] = set()

    def start(self, number: int, usage: Sequence[tuple[int, float]], limit: float, nbytes: float, now: float) -> None:
        """A flow of `nbytes` begins, as fast as `limit` by itself; `settle` then gives its rate."""
        limit = min([limit, *(self._capacities[resource] / weight for resource, weight in usage)])
        self._flows[number] = Flow(usage, limit, nbytes, now)
        self._stale.add(number)
        for resource, weight in usage:
            self._users[resource][number] = weight
            self._wanted[resource] += weight * limit
            if self._is_short(resource):
                self._stale.update(self._users[resource])

    def finish(self, number: int) -> None:
        """A flow has ended."""
        flow = self._flows.pop(number)
        self._stale.discard(number)
        for resource, weight in flow.usage:
            users = self._users[resource]
            short = self._is_short(resource)
            del users[number]
            if short:
                self._stale.update(users)
            self._wanted[resource] = self._wanted[resource] - weight * flow.limit if users else 0.0

    def is_current(self, number: int, version: int) -> bool:
        """Whether an end that `settle` announced still holds."""
        flow = self._flows.get(number)
        return flow is not None and flow.version == version

    def settle(self, now: float) -> Iterator[tuple[float, int, int]]:
        """Share anew among the flows that beginnings and ends concern; yields new ends: time, flow, version."""
        if not self._stale:
            return
        for number, rate in self._fill(self._concerned()):
            flow = self._flows[number]
            if rate != flow.rate:
                flow.left -= flow.rate * (now - flow.since)
                flow.since = now
                flow.rate = rate
                flow.version += 1
                yield now + max(flow.left, 0.0) / rate, number, flow.version
        self._stale.clear()

    def _is_short(self, resource: int) -> bool:
        """Whether there is less than all its users could use. Others couple nobody."""
        return self._wanted[resource] > self._capacities[resource] * _ROUNDING

    def _concerned(self) -> list[int]:
        """The stale flows, and all that share a short resource with one of these."""
        found = set(self._stale)
        ahead = list(found)
        seen: set[int] = set()
        while ahead:
            for resource, _ in self._flows[ahead.pop()].usage:
                if resource not in seen and self._is_short(resource):
                    seen.add(resource)
                    new = self._users[resource].keys() - found
                    found |= new
                    ahead.extend(new)
        return sorted(found)

    def _fill(self, numbers: Sequence[int]) -> Iterable[tuple[int, float]]:
        """The rates of these flows; every user of a short resource of theirs is among them."""
        flows = self._flows
        if len(numbers) == 1:
            return [(numbers[0], flows[numbers[0]].limit)]
        left: dict[int, float] = {}
        weights: dict[int, float] = {}
        waiting: dict[int, int] = {}
        for number in numbers:
            for resource, weight in flows[number].usage:
                if self._is_short(resource):
                    left.setdefault(resource, self._capacities[resource])
                    weights[resource] = weights.get(resource, 0.0) + weight
                    waiting[resource] = waiting.get(resource, 0) + 1
        # The level of a resource only rises while flows below it stay behind: an outdated entry is corrected when met.
        levels = [(left[resource] / weights[resource], resource) for resource in left]
        heapq.heapify(levels)
        slowest = sorted(numbers, key=lambda number: flows[number].limit, reverse=True)
        rates: dict[int, float] = {}

        def stay(number: int, rate: float) -> None:
            rates[number] = rate
            for resource, weight in flows[number].usage:
                if resource in left:
                    left[resource] -= weight * rate
                    weights[resource] -= weight
                    waiting[resource] -= 1

        while len(rates) < len(numbers):
            level, resource = levels[0] if levels else (inf, -1)
            if levels and not waiting[resource]:
                heapq.heappop(levels)
                continue
            while slowest[-1] in rates:
                slowest.pop()
            if flows[slowest[-1]].limit <= level:
                number = slowest.pop()
                stay(number, flows[number].limit)
                continue
            current = max(left[resource], 0.0) / weights[resource]
            if current > level * _ROUNDING:
                heapq.heapreplace(levels, (current, resource))
                continue
            for number in self._users[resource]:
                if number not in rates:
                    stay(number, level)
        return rates.items()
