"""From times to rules: which algorithm serves which sizes on how many ranks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from hal.config import AlgorithmRule
from hal_collectives.algorithms import get
from hal_collectives.selection import SelectionTable, choose
from hal_collectives.tune.measure import Timing

WORTH_IT = 1.05
"""How many times faster than the algorithm in force another must be to take its place: less may be noise."""


@dataclass(frozen=True)
class Gain:
    """What was chosen for a timing, beside what the table in force chooses."""

    timing: Timing
    before: str
    after: str

    @property
    def ratio(self) -> float:
        """How many times faster it is."""
        return self.timing.microseconds[self.before] / self.timing.microseconds[self.after]


def decide(timings: Sequence[Timing], table: SelectionTable) -> tuple[SelectionTable, list[Gain]]:
    """The table that follows from the timings, and what it gains against `table`, which also serves all else."""
    rules = {label: list(each) for label, each in table.rules.items()}
    for label in dict.fromkeys(t.collective for t in timings):
        measured = [t for t in timings if t.collective == label]
        counts = sorted({t.ranks for t in measured})
        made: list[AlgorithmRule] = []
        for below, count in zip([0, *counts], counts, strict=False):
            last = count == counts[-1]
            # rank counts between two that were measured are served as the larger one, and all beyond as the last
            ranks = None if last else tuple(range(below + 1, count + 1))
            made += _rules([t for t in measured if t.ranks == count], ranks, table)
        # what the measured algorithms cannot serve, such as rank counts that they do not claim
        rules[label] = made + rules.get(label, [])
    found = SelectionTable(rules, "the measured table")
    return found, [_gain(t, table, found) for t in timings]


def _rules(timings: Sequence[Timing], ranks: tuple[int, ...] | None, table: SelectionTable) -> list[AlgorithmRule]:
    """The rules for one rank count, by size. Those for mapped and for plain buffers are tried in this order."""
    by_size: dict[int, dict[bool, Timing]] = defaultdict(dict)
    for timing in timings:
        by_size[timing.nbytes][timing.mapped] = timing
    sizes = sorted(by_size)
    choices = [_pair(by_size[size], table) for size in sizes]
    result = []
    for i, chosen in enumerate(choices):
        if i + 1 < len(sizes) and choices[i + 1] == chosen:
            continue
        most = math.isqrt(sizes[i] * sizes[i + 1]) if i + 1 < len(sizes) else None
        result += [AlgorithmRule(name, most, ranks) for name in chosen]
    return result


def _pair(by_memory: dict[bool, Timing], table: SelectionTable) -> tuple[str, ...]:
    """One algorithm, or two of which the first serves mapped buffers alone.

    One that serves plain buffers serves mapped ones too, so that where two such are the fastest for the two kinds of
    memory, the one with the lower product of both times is taken.
    """
    best = [_best(timing, table) for _, timing in sorted(by_memory.items(), reverse=True)]
    collective = next(iter(by_memory.values())).collective
    if len(set(best)) == 1 or get(collective, best[0]).mapped:
        return tuple(dict.fromkeys(best))

    def product(name: str) -> float:
        return math.prod(timing.microseconds[name] for timing in by_memory.values())

    return (min(best, key=product),)


def _best(timing: Timing, table: SelectionTable) -> str:
    fastest = min(timing.microseconds, key=timing.microseconds.__getitem__)
    before = _chosen(timing, table)
    kept = before in timing.microseconds and (timing.microseconds[before] <= WORTH_IT * timing.microseconds[fastest])
    return before if kept else fastest


def _chosen(timing: Timing, table: SelectionTable) -> str:
    # what is measured has an output of its own
    asked = (timing.collective, timing.ranks, timing.nbytes)
    return choose(*asked, mapped=timing.mapped, all_in_place=False, table=table).name


def _gain(timing: Timing, before: SelectionTable, after: SelectionTable) -> Gain:
    return Gain(timing, _chosen(timing, before), _chosen(timing, after))
