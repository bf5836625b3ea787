"""The space-time picture of a plan, before any library draws it: ranks beside each other, steps downwards.

In the unit of the axes, rank r stands at x = r. Steps follow each other along y, each 1 high, or more where it is
crowded. Arrows between the same two ranks in one step are one arrow here.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hal.interface.errors import UsageError
from hal.plan.draw.steps import Diagram
from hal.plan.text import path_text

MOST_ARROWS = 20_000
"""More than these nobody could tell apart, and no page would show."""

_MOST_CHUNKS = 3
_MOST_TEXTS = 8
_MARGIN = 0.12
"""Between an arrow's ends and those of its step."""


@dataclass(frozen=True, slots=True)
class Line:
    """One arrow of the picture; `texts` are lines about the transfers that it stands for."""

    step: int
    src: int
    dst: int
    label: str
    """Empty where there is no room for it."""
    texts: Sequence[str]
    top: float
    bottom: float
    """Where its step begins and ends along y."""

    @property
    def start(self) -> tuple[float, float]:
        """Where it leaves its sender."""
        return self.src, self.top + _MARGIN

    @property
    def end(self) -> tuple[float, float]:
        """Where it reaches its receiver."""
        return self.dst, self.bottom - _MARGIN

    @property
    def label_at(self) -> tuple[float, float]:
        """Near the sender, where arrows that cross have not met yet."""
        (x, y), (to_x, to_y) = self.start, self.end
        share = min(0.5, 0.45 / abs(to_x - x))
        return x + share * (to_x - x), y + share * (to_y - y)


@dataclass(frozen=True, slots=True)
class Dot:
    """The moves within a rank after a step."""

    step: int
    rank: int
    texts: Sequence[str]
    y: float


@dataclass(frozen=True, slots=True)
class SpaceTime:
    """A picture's title, the lines below it, and all that is drawn."""

    title: str
    notes: str
    ranks: int
    bounds: Sequence[float]
    """Where steps begin along y, and where the last one ends."""
    crowded: Collection[int]
    """Steps of so many arrows that thin ones without labels serve better."""
    lines: Sequence[Line]
    dots: Sequence[Dot]

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.bounds) - 1

    @property
    def height(self) -> float:
        """The length of the picture along y."""
        return self.bounds[-1]

    @property
    def middles(self) -> Sequence[float]:
        """The middle of each step along y."""
        return [(a + b) / 2 for a, b in itertools.pairwise(self.bounds)]


def space_time(diagram: Diagram, ranks: Collection[int] | None = None) -> SpaceTime:
    """Lay out a diagram, or of it what the given ranks send and receive.

    `UsageError` for a rank that the plan does not have, and where there is more to draw than anybody could see.
    """
    plan = diagram.plan
    for rank in sorted(ranks or ()):
        if not 0 <= rank < plan.size:
            raise UsageError(f"plan {plan.name!r} has no rank {rank}: allowed are 0 to {plan.size - 1}")
    bundles: dict[tuple[int, int, int], list[tuple[str, str]]] = defaultdict(list)
    for arrow in diagram.arrows:
        if ranks is None or arrow.src in ranks or arrow.dst in ranks:
            size = "" if arrow.nbytes is None else f", {size_text(arrow.nbytes)}"
            at = f"rank {arrow.rank}, block {arrow.block}, {path_text(arrow.path)}: {arrow.text}{size}"
            bundles[arrow.step, arrow.src, arrow.dst].append((arrow.chunks, at))
    if len(bundles) > MOST_ARROWS:
        raise UsageError(
            f"plan {plan.name!r} has {len(bundles)} arrows to draw, at most {MOST_ARROWS} can be: "
            "choose ranks with --rank"
        )
    arrows_of = Counter(step for step, _, _ in bundles)
    crowded = {step for step, number in arrows_of.items() if number > 2 * plan.size}
    heights = (1 if s not in crowded else min(4.0, arrows_of[s] / plan.size / 3) for s in range(1, diagram.steps + 1))
    bounds = [0.0, *itertools.accumulate(max(1.0, h) for h in heights)]
    lines = [
        Line(
            step,
            src,
            dst,
            "" if step in crowded else _label([chunks for chunks, _ in found]),
            _few([text for _, text in found]),
            bounds[step - 1],
            bounds[step],
        )
        for (step, src, dst), found in bundles.items()
    ]
    work: dict[tuple[int, int], list[str]] = defaultdict(list)
    for each in diagram.work:
        if ranks is None or each.rank in ranks:
            work[each.step, each.rank].append(f"block {each.block}, {path_text(each.path)}: {each.text}")
    dots = [Dot(step, rank, _few(texts), bounds[step]) for (step, rank), texts in work.items()]
    return SpaceTime(_title(diagram), _notes(diagram), plan.size, bounds, crowded, lines, dots)


def _title(diagram: Diagram) -> str:
    plan = diagram.plan
    what = "signals" if diagram.signals else "steps"
    count = f"{diagram.steps} steps of signals" if diagram.signals else f"{diagram.steps} {what}"
    root = "" if plan.root is None else f", root {plan.root}"
    return f"{plan.name}: {plan.collective} on {plan.size} ranks{root}, {count}"


def _notes(diagram: Diagram) -> str:
    notes = []
    for unit, pieces in diagram.pieces.items():
        of = "pieces" if pieces is None else f"{pieces} pieces"
        notes.append(f"loops: one of {of} of {size_text(unit)} is shown")
    return "; ".join(notes)


def _label(chunks: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(c for c in chunks if c))
    shown = ", ".join(distinct[:_MOST_CHUNKS])
    return shown + (f" +{len(distinct) - _MOST_CHUNKS}" if len(distinct) > _MOST_CHUNKS else "")


def _few(texts: Sequence[str]) -> Sequence[str]:
    more = len(texts) - _MOST_TEXTS
    return [*texts[:_MOST_TEXTS], *([f"and {more} more"] if more > 0 else [])]


def size_text(nbytes: int) -> str:
    """Bytes for people: 64 KiB, 1.5 MiB."""
    value = float(nbytes)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} GiB"
