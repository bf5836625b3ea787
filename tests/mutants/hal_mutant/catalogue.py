"""The mutants there are, and the one that this process is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

import attrs

T = TypeVar("T")

VARIABLE = "MUTANT"
"""The environment variable that names the mutant; without it the backend is whole."""


@attrs.frozen
class Mutant:
    """What is broken: the class that stands in the place of one of `parts`, and the clause that it violates."""

    name: str
    clause: str
    says: str
    broken: type[Any]
    ranks: int
    """The size of groups in which it shows; the tests of pairs have two ranks in any case."""
    slow: bool
    """Whether the test that kills it waits for a deadline."""


MUTANTS: dict[str, Mutant] = {}


def breaks(clause: str, says: str, *, ranks: int = 2, slow: bool = False) -> Callable[[type[T]], type[T]]:
    """Put a class that is derived from a part into the catalogue, by its own name."""

    def enter(broken: type[T]) -> type[T]:
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", broken.__name__).lower()
        assert name not in MUTANTS, name
        MUTANTS[name] = Mutant(name, clause, says, broken, ranks, slow)
        return broken

    return enter


def part(kind: type[T]) -> type[T]:
    """What this process has in the place of a part: the class of the chosen mutant, or the part as it is."""
    chosen = os.environ.get(VARIABLE)
    if not chosen:
        return kind
    broken = MUTANTS[chosen].broken
    return broken if issubclass(broken, kind) else kind
