"""Signals and releases as tokens: who gave them, who takes them, and whether a taker knows whose it got."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter

from hal.plan.verify.memory import Clock

Key = tuple[object, ...]
"""What a block waits for."""

Snapshot = tuple[Clock | None, Clock]
"""What an actor publishes: `seen`, or None where it is relaxed, and `passed`."""


@dataclass
class Tokens:
    """The signals on a channel or the releases of a semaphore: what was published with each, and who takes them."""

    free: int = 0
    """How many there are from the beginning."""
    published: deque[Snapshot] = field(default_factory=deque)
    given: int = 0
    taken: int = 0
    last_giver: tuple[int, int, int] | None = None
    """Block, epoch and step of the last one."""
    last_taker: tuple[int, int, int] | None = None
    unordered_givers: tuple[int, int] | None = None
    """Two steps that give and are not ordered."""
    held: list[Snapshot] = field(default_factory=list)
    """What takers took of which they could not know whose it was."""
    gives: defaultdict[int, list[tuple[int, Clock]]] = field(default_factory=lambda: defaultdict(list))
    """For each giver the numbers of its tokens, and what had happened before it gave them."""
    takes: list[tuple[int, int, int]] = field(default_factory=list)
    """Block and epoch of each taker, and the number of its token."""

    def open_takes(self) -> Iterator[int]:
        """The takers that another token may have served: one that nothing makes come after them."""
        for block, epoch, wanted in self.takes:
            for gives in self.gives.values():
                later = bisect_right(gives, wanted, key=itemgetter(0))
                if later < len(gives) and gives[later][1][block] <= epoch:
                    yield wanted
                    break


Doubts = frozenset[tuple[Key, int]]
"""Takers, by the number of their token, that do not know whose it was; 0 marks the keys that are watched for it."""
