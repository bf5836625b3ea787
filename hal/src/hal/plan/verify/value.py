"""What a piece of memory holds, symbolically: the exact multiset of contributions that were reduced to it.

A contribution is one element of one rank's input. A value stands for a whole range of bytes, in which the element at
distance d from the start comes from distance d after the offset that the contribution names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

COUNT_BITS = 16
"""Bits in which the contributions of one rank are counted."""
MOST_TERMS = (1 << COUNT_BITS) - 1

CALL = "call"
"""The reduction that the call names, as the operation of a value."""


class Value(NamedTuple):
    """`op` over the terms. A lone contribution has no op yet; `divided` says that an average was divided."""

    op: str | None
    terms: tuple[tuple[Source, int], ...]
    """Where from, and a number whose bits [16*r, 16*r+16) count how often rank r contributes from there. For a value
    inside a value, that value and how often."""
    size: int
    """The number of terms, each counted as often as it occurs."""
    divided: bool = False


Source = int | Value


def contribution(rank: int, offset: int) -> Value:
    """The input of `rank` from byte `offset` on."""
    return Value(None, ((offset, 1 << (COUNT_BITS * rank)),), 1)


def shifted(value: Value, distance: int) -> Value:
    """The same value from `distance` bytes further on."""
    terms = tuple((s + distance if isinstance(s, int) else shifted(s, distance), count) for s, count in value.terms)
    return value._replace(terms=terms)


def combined(values: Sequence[Value], op: str, final: bool) -> Value:
    """The reduction of several values, or a copy of one.

    What another operation made, and what was divided already, becomes a term as a whole: such values never equal a
    plain reduction of inputs.
    """
    if len(values) == 1:
        value = values[0]
        if not final:
            return value
        if not value.divided and value.op in (None, op):
            return value._replace(divided=True)
    terms: dict[Source, int] = {}
    size = 0
    for value in values:
        if value.divided or value.op not in (None, op):
            terms[value] = terms.get(value, 0) + 1
            size += 1
            continue
        for source, count in value.terms:
            terms[source] = terms.get(source, 0) + count
        size += value.size
    if size > MOST_TERMS:
        # so many could run over into the bits of the next rank: no collective has them
        return Value("too many", (), 0)
    ordered = tuple(terms.items()) if len(terms) == 1 else tuple(sorted(terms.items(), key=_order))
    return Value(op, ordered, size, final)


def _order(term: tuple[Source, int]) -> tuple[int, int, str]:
    source, count = term
    return (0, source, "") if isinstance(source, int) else (1, count, repr(source))


def counts(number: int) -> dict[int, int]:
    """How often each rank contributes, from the number that packs it."""
    found = {}
    rank = 0
    while number:
        count = number & MOST_TERMS
        if count:
            found[rank] = count
        number >>= COUNT_BITS
        rank += 1
    return found


def all_of(ranks: Iterable[int]) -> int:
    """One contribution of each of the ranks, packed."""
    return sum(1 << (COUNT_BITS * rank) for rank in ranks)


def once_each(number: int) -> int:
    """The same ranks, each counted once: what an operation sees in which repetition makes no difference."""
    return all_of(counts(number))


def describe(value: Value | None, locate: Sequence[tuple[int, int]] = ()) -> str:
    """The value in words. `locate` gives (first byte, chunk) of the inputs' chunks, by which offsets are named."""
    if value is None:
        return "nothing: it was never written"
    if value.op == "too many":
        return f"more than {MOST_TERMS} contributions"
    parts = []
    for source, count in value.terms:
        if isinstance(source, Value):
            parts.append(f"({describe(source, locate)})" + (f" {count} times" if count > 1 else ""))
            continue
        ranks = counts(count)
        shown = [f"{rank}" if times == 1 else f"{rank} ({times} times)" for rank, times in list(ranks.items())[:10]]
        more = f" and {len(ranks) - 10} more" if len(ranks) > 10 else ""
        parts.append(f"{_place(source, locate)} of rank{'s' if len(ranks) > 1 else ''} {', '.join(shown)}{more}")
    made = " + ".join(parts) if value.op in (None, CALL) else f"{value.op} of {', '.join(parts)}"
    return made + (", divided for an average" if value.divided else "")


def _place(offset: int, locate: Sequence[tuple[int, int]]) -> str:
    best = max((entry for entry in locate if entry[0] <= offset), default=None)
    if best is None:
        return f"input byte {offset}"
    inside = offset - best[0]
    return f"input[{best[1]}]" + (f" from its byte {inside} on" if inside else "")
