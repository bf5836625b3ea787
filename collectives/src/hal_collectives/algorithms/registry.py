"""The register of algorithms: what is known of each, and the plans it builds.

An algorithm is a function that builds a plan for a number of ranks, registered by `@algorithm`. What the decorator is
told is what a caller needs for choosing: which rank counts it serves, what it demands of the buffers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache

from hal.interface.errors import UsageError, unknown_name
from hal.plan.collective import Collective
from hal.plan.model import Plan
from hal.plan.proven import trust

Builder = Callable[..., Plan]
"""Builds the plan for `(size)` ranks, or for `(size, root)` where the collective has a root; see `by_node`."""


@dataclass(frozen=True)
class Algorithm:
    """One way to do a collective, for every rank count that it claims."""

    collective: str
    name: str
    description: str
    mapped: bool
    """Whether it reaches inputs or outputs of other ranks directly, so that all buffers must be registered memory."""
    variable: bool
    """Whether its plans also serve the variable-count form (`all_gather_v` and so on), by an explicit layout."""
    in_place: bool
    """Whether it is right where output and input share memory."""
    ranks: str
    """The rank counts it claims, in words."""
    claims: Callable[[int], bool]
    builder: Builder
    in_order: bool = True
    """Whether it reduces in the order of the ranks, from left to right; True where nothing is reduced."""
    by_node: bool = False
    """Whether it treats ranks of one node otherwise than those of others; its builder then takes `ranks_per_node`."""
    ranks_per_node: int | None = None
    """With `by_node` how many ranks a node has; None leaves that to the builder."""

    def supports(self, size: int) -> bool:
        """Whether it serves a group of `size` ranks."""
        return size >= 1 and self.claims(size)

    def build(self, size: int, root: int | None = None) -> Plan:
        """The plan for `size` ranks, always the same object for the same arguments.

        `root` is given for the collectives that have one, and for these alone. `UsageError` where the rank count is
        not among those claimed, or the root is missing, superfluous or not a rank.
        """
        what = f"algorithm {self.name!r} of {self.collective}"
        if not self.supports(size):
            raise UsageError(f"{what} serves {self.ranks}, not {size}")
        if Collective.of(self.collective).rooted:
            if root is None or not 0 <= root < size:
                raise UsageError(f"{what} needs a root of 0 to {size - 1}, not {root}")
        elif root is not None:
            raise UsageError(f"{what} has no root, but root {root} was given")
        return _built(self, size, root)

    def in_nodes(self, ranks: int) -> Algorithm:
        """With `by_node` the same for nodes of so many ranks each; `UsageError` otherwise."""
        if not self.by_node:
            raise UsageError(f"algorithm {self.name!r} of {self.collective} makes no difference between nodes")
        return replace(self, ranks_per_node=ranks)

    def sizes(self, size: int) -> str:
        """The sizes of a message on `size` ranks for which the default table chooses it, in words; "" for none.

        `mapped` and `plain` say of which calls this holds: those whose buffers are registered memory on all ranks, and
        the others; `mapped in place` are those of the former whose output is the input on all ranks.
        """
        mapped, others = (_ranges(self, size, mapped=True, all_in_place=each) for each in (True, False))
        found = {"mapped": mapped} if mapped == others else {"mapped in place": mapped, "mapped else": others}
        found["plain"] = _ranges(self, size, mapped=False)
        if len(set(found.values())) == 1:
            return found["plain"]
        return "; ".join(f"{word}: {ranges}" for word, ranges in found.items() if ranges)


PROVEN_SIZES = frozenset([*range(1, 17), 32, 64])
"""The rank counts for which tests prove every algorithm of this package, so that it is not proven again at run time."""


def _ranges(algorithm: Algorithm, size: int, *, mapped: bool, all_in_place: bool = True) -> str:
    from hal_collectives.selection import choose, default_table  # here, because it imports this module

    rules = default_table().rules.get(algorithm.collective, ())
    # between two of these the choice is the same
    bounds = [-1, *sorted({rule.max_bytes for rule in rules if rule.max_bytes is not None})]
    found: list[tuple[int, int | None]] = []
    for below, most in itertools.zip_longest(bounds, bounds[1:]):
        try:
            taken = choose(algorithm.collective, size, below + 1, mapped=mapped, all_in_place=all_in_place)
            chosen = taken == algorithm
        except UsageError:
            chosen = False
        if chosen and found and found[-1][1] == below:
            found[-1] = (found[-1][0], most)
        elif chosen:
            found.append((below, most))
    return ", ".join(_range_text(below, most) for below, most in found)


def _range_text(below: int, most: int | None) -> str:
    if most is None:
        return "all" if below < 0 else f"> {_size_text(below)}"
    return f"<= {_size_text(most)}" if below < 0 else f"{_size_text(below)} to {_size_text(most)}"


def _size_text(nbytes: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= unit and nbytes % unit == 0:
            return f"{nbytes // unit} {name}"
    return f"{nbytes} B"


@cache
def _built(algorithm: Algorithm, size: int, root: int | None) -> Plan:
    where = {} if algorithm.ranks_per_node is None else {"ranks_per_node": algorithm.ranks_per_node}
    plan = algorithm.builder(size, **where) if root is None else algorithm.builder(size, root, **where)
    built_in = algorithm.builder.__module__.startswith(f"{__package__}.")
    return trust(plan, variable=algorithm.variable) if built_in and size in PROVEN_SIZES else plan


_REGISTER: dict[str, dict[str, Algorithm]] = {}


def algorithm(
    collective: str | Collective,
    *,
    name: str,
    description: str,
    mapped: bool = False,
    variable: bool = False,
    in_place: bool = True,
    ranks: str = "any number of ranks",
    claims: Callable[[int], bool] = lambda size: True,
    in_order: bool = True,
    by_node: bool = False,
) -> Callable[[Builder], Builder]:
    """Register the decorated function as an algorithm; see `Algorithm` for what the arguments say.

    `UsageError` where the collective has one of this name already.
    """
    label = Collective.of(collective).label

    def register(builder: Builder) -> Builder:
        known = _REGISTER.setdefault(label, {})
        if name in known:
            raise UsageError(f"{label} has an algorithm {name!r} already")
        traits = (mapped, variable, in_place, ranks, claims, builder, in_order, by_node)
        known[name] = Algorithm(label, name, description, *traits)
        return builder

    return register


def algorithms(collective: str | Collective) -> list[Algorithm]:
    """All algorithms of a collective, in the order of registration.

    For a variable-count form, those of its uniform collective that serve it.
    """
    asked = Collective.of(collective)
    found = _REGISTER.get(asked.uniform.label, {}).values()
    return [a for a in found if a.variable or asked is asked.uniform]


def get(collective: str | Collective, name: str) -> Algorithm:
    """The algorithm of that name; `UsageError`, with the nearest name, where there is none."""
    found = {a.name: a for a in algorithms(collective)}
    if name not in found:
        raise UsageError(unknown_name(f"algorithm of {Collective.of(collective).label}", name, found))
    return found[name]


def provide() -> Iterable[Algorithm]:
    """Every registered algorithm; the entry point of the group `hal.algorithms`."""
    return [a for known in _REGISTER.values() for a in known.values()]
