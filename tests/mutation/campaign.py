"""The campaign: mutants of every kind from every plan, the verdicts on them, and the table of these."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any
from zlib import crc32

from hal.plan.findings import Code
from hal.plan.verify import verify

from .mutators import Mutant, mutants
from .oracle import broken
from .originals import Original
from .reasons import order_is_kept, reason

SCHEDULES = 6
"""Random runs of a mutant that the verifier passes."""
FEW_SCHEDULES = 3
"""The same for many ranks, of which there are many mutants."""
MORE_SCHEDULES = 200
"""The same where no reason was found for which it is right."""
NO_CATEGORY = "no category"
FEW_RANKS = 4
"""Up to here the second opinion is asked of refused mutants, too: it takes long for many ranks."""
MALFORMED = {Code.MALFORMED, Code.OUT_OF_BOUNDS, Code.UNMATCHED_SIGNAL, Code.UNMATCHED_BARRIER}
"""What is no plan, of which there is nothing to ask."""
USES = {Code.SELF_OVERLAP, Code.PACKET_REUSE, Code.PACKET_OVERLAP, Code.INPUT_OVERWRITTEN}
"""What a place must not be used for, though nobody reads it afterwards: the second opinion knows of reads alone."""


@dataclass(frozen=True)
class Survivor:
    """A mutant that the verifier passes, and why it is right."""

    name: str
    kind: str
    why: str

    def __str__(self) -> str:
        return self.name


@dataclass
class Results:
    """What a campaign has found."""

    plans: int = 0
    mutants: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    codes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    survivors: list[Survivor] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Plans that are right and refused, and mutants that are passed and go wrong: the verifier's own mistakes."""
    runs: int = 0
    """Random runs of mutants that are passed."""
    opinions: int = 0
    """Refused mutants of which the second opinion (`order`) was asked whether they are right."""

    def to_json(self) -> dict[str, Any]:
        """As JSON, from which `from_json` makes it again."""
        return {**vars(self), "survivors": [asdict(each) for each in self.survivors]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Results:
        """What `to_json` was called on."""
        codes = defaultdict(Counter, {kind: Counter(found) for kind, found in data["codes"].items()})
        survivors = [Survivor(**each) for each in data["survivors"]]
        counters = {name: Counter(data[name]) for name in ("mutants", "refused")}
        return cls(**{**data, **counters, "codes": codes, "survivors": survivors})

    def add(self, other: Results) -> None:
        """Add the results of another part of the campaign."""
        self.plans += other.plans
        self.mutants += other.mutants
        self.refused += other.refused
        for kind, codes in other.codes.items():
            self.codes[kind] += codes
        self.survivors += other.survivors
        self.wrong += other.wrong
        self.runs += other.runs
        self.opinions += other.opinions


def sample(plan_mutants: Iterable[Mutant], most: float | None, seed: str) -> Iterator[Mutant]:
    """At most so many mutants of each kind, by a seed; all of them where there is no limit.

    Below 1, one mutant of that share of the kinds.
    """
    kinds: defaultdict[str, list[Mutant]] = defaultdict(list)
    for mutant in plan_mutants:
        kinds[mutant.kind].append(mutant)
    for kind, found in kinds.items():
        chance = random.Random(f"{seed} {kind}")
        if most is None or len(found) <= most:
            yield from found
        elif most >= 1 or chance.random() < most:
            yield from chance.sample(found, max(1, int(most)))


def examine(original: Original, most: float | None = None, seed: int = 0, part: int = 0, parts: int = 1) -> Results:
    """The verdicts on an original plan and on its mutants: at most `most` of each kind.

    Of `parts` parts only `part`, counted from 0; the first one looks at the original.
    """
    results = Results()
    if part == 0:
        results.plans = 1
        report = verify(original.plan)
        if not report.ok:
            results.wrong.append(f"{original.name}, {original.ranks} ranks: right, but refused: {report}")
    chosen = sample(mutants(original.plan), most, f"{seed} {original.name} {original.ranks}")
    for mutant in islice(chosen, part, None, parts):
        _examine(original, mutant, seed, results)
    return results


def _examine(original: Original, mutant: Mutant, seed: int, results: Results) -> None:
    plan = mutant.make()
    place = f"{original.name}, {original.ranks} ranks: {mutant.kind}: {mutant.text}"
    results.mutants[mutant.kind] += 1
    report = verify(plan)
    if not report.ok:
        codes = {finding.code for finding in report.findings}
        results.refused[mutant.kind] += 1
        results.codes[mutant.kind].update(code.value for code in codes)
        # the second opinion knows of no operations
        asked = mutant.kind != "change op" and not codes & MALFORMED and not codes <= USES
        if asked and original.ranks <= FEW_RANKS:
            results.opinions += 1
            if order_is_kept(original.plan, plan):
                results.wrong.append(f"{place}: refused, but nothing has changed: {report.findings[0]}")
        return
    why = reason(original.plan, mutant, plan) or NO_CATEGORY
    usual = SCHEDULES if original.ranks <= FEW_RANKS else FEW_SCHEDULES
    times = MORE_SCHEDULES if why == NO_CATEGORY else usual
    # counts and schedules of its own, so that the mutants of a plan together see them all
    problem = broken(plan, times, seed=crc32(f"{seed} {place}".encode()))
    results.runs += times
    results.survivors.append(Survivor(place, mutant.kind, why))
    if problem:
        results.wrong.append(f"{place}: passed, but goes wrong: {problem}")


def run(plans: Iterable[Original], most: float | None = None, seed: int = 0) -> Results:
    """The campaign over these plans, in this process."""
    results = Results()
    for original in plans:
        results.add(examine(original, most, seed))
    return results


def table(results: Results) -> str:
    """The results as Markdown: by kind, and the survivors by reason."""
    lines = ["| mutation | mutants | refused | equivalent | refused by |", "|---|---:|---:|---:|---|"]
    kinds = sorted(results.mutants, key=lambda kind: (kind.split()[0], kind))
    for kind in kinds:
        total, refused = results.mutants[kind], results.refused[kind]
        codes = ", ".join(f"{code} {number}" for code, number in results.codes[kind].most_common())
        lines.append(f"| {kind} | {total} | {refused} | {total - refused} | {codes} |")
    total, refused = results.mutants.total(), results.refused.total()
    lines.append(f"| **all** | **{total}** | **{refused}** | **{total - refused}** | |")
    lines += ["", "| why the others are right | mutants | kinds |", "|---|---:|---|"]
    by_reason: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for survivor in results.survivors:
        by_reason[survivor.why][survivor.kind] += 1
    for why, found in sorted(by_reason.items(), key=lambda entry: -entry[1].total()):
        shown = ", ".join(f"{kind} {number}" for kind, number in found.most_common())
        lines.append(f"| {why} | {found.total()} | {shown} |")
    return "\n".join(lines)
