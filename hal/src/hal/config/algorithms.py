"""Pinned algorithms: a name, or a list of rules by message size and rank count, each naming an algorithm or a plan."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from hal.config import kinds
from hal.interface.errors import unknown_name

_NAME = kinds.name()
_SIZE = kinds.size()


@attrs.frozen
class AlgorithmRule:
    """Use `algorithm` for messages of at most `max_bytes` on one of `ranks` rank counts; None sets no condition.

    `in_place` is for an algorithm that reaches other ranks' buffers, where that pays only if the output of every rank
    is its input: other calls take what calls with plain buffers take, as far as the backend can tell them apart. In
    place of `algorithm`, `plan` may name a plan file, which sets conditions of its own: its rank count, and the sizes
    it is for.
    """

    algorithm: str | None
    max_bytes: int | None = None
    ranks: tuple[int, ...] | None = None
    plan: str | None = None
    in_place: bool = False

    @property
    def name(self) -> str:
        """The algorithm's name, or the plan's file."""
        return self.algorithm or self.plan or ""

    def fits(self, nbytes: int, ranks: int) -> bool:
        """Whether the rule applies to a message of `nbytes` bytes in a group of `ranks` ranks."""
        return (self.max_bytes is None or nbytes <= self.max_bytes) and (self.ranks is None or ranks in self.ranks)

    def __str__(self) -> str:
        conditions = []
        if self.max_bytes is not None:
            conditions.append(f"up to {_SIZE.show(self.max_bytes)}")
        if self.ranks is not None:
            conditions.append(f"on {', '.join(map(str, self.ranks))} ranks")
        if self.in_place:
            conditions.append("in place")
        return " ".join([self.name, *conditions])


def _read_ranks(raw: object) -> tuple[int, ...]:
    if not isinstance(raw, list | tuple) or not raw:
        raise ValueError
    count = kinds.integer(at_least=1)
    return tuple(count(one) for one in raw)


def _read_plan(raw: object) -> str:
    if not isinstance(raw, str | os.PathLike) or not str(raw):
        raise ValueError
    path = Path(raw)
    try:
        # opening a pipe would wait for its writer
        if not stat.S_ISREG(path.stat().st_mode):
            raise kinds.BadValue([((), f"{path} is not a regular file")])
        with path.open("rb"):
            return str(path)
    except FileNotFoundError:
        raise kinds.BadValue([((), f"there is no file {path}")]) from None
    except OSError as error:
        raise kinds.BadValue([((), f"{path} cannot be read: {error.strerror}")]) from None


def located(raw: object, folder: Path) -> object:
    """The raw choice of a file in `folder`, with the paths of plans in it made absolute."""
    if isinstance(raw, Mapping):
        path = raw.get("plan")
        return {**raw, "plan": str(folder / path)} if isinstance(path, str) and path else raw
    return [located(one, folder) for one in raw] if isinstance(raw, list) else raw


_RANKS = kinds.Kind("a list of rank counts", "integers of at least 1, such as [2, 4]", _read_ranks)
_PLAN = kinds.Kind("a plan file", "the path of a plan as JSON, relative to the configuration file", _read_plan)
_RULE_KEYS: dict[str, kinds.Kind[Any]] = {
    "algorithm": _NAME,
    "plan": _PLAN,
    "max_bytes": _SIZE,
    "ranks": _RANKS,
    "in_place": kinds.truth(),
}


def algorithm_choice() -> kinds.Kind[tuple[AlgorithmRule, ...]]:
    """A name, which pins one algorithm, or a list of rules, of which the first that fits is used."""
    allowed = "a name of a-z, 0-9 and _, or a list of rules {algorithm or plan, max_bytes, ranks, in_place}"
    return kinds.Kind("an algorithm", allowed, _read_rules, lambda rules: "; ".join(map(str, rules)))


def _read_rules(raw: object) -> tuple[AlgorithmRule, ...]:
    if isinstance(raw, str):
        return (AlgorithmRule(_NAME(raw)),)
    if not isinstance(raw, list | tuple) or not raw:
        raise ValueError
    problems: list[tuple[tuple[str | int, ...], str]] = []
    rules = [_read_rule(rule, index, problems) for index, rule in enumerate(raw)]
    if problems:
        raise kinds.BadValue(problems)
    return tuple(rules)


def _read_rule(raw: object, index: int, problems: list[tuple[tuple[str | int, ...], str]]) -> AlgorithmRule:
    """The rule at `index`; what is wrong with it goes to `problems`, and the rule returned then means nothing."""
    values: dict[str, Any] = {"algorithm": None}
    if not isinstance(raw, Mapping):
        problems.append(
            ((index,), f"{kinds.shown(raw)} is not a rule: allowed is a mapping of {', '.join(_RULE_KEYS)}")
        )
        return AlgorithmRule(**values)
    for key, value in raw.items():
        kind = _RULE_KEYS.get(key)
        if kind is None:
            problems.append(((index, key), unknown_name("key", str(key)[:60], _RULE_KEYS)))
            continue
        try:
            values[key] = kind(value)
        except ValueError as error:
            problems.append(((index, key), str(error)))
    if ("algorithm" in raw) == ("plan" in raw):
        what = (
            "both an algorithm and a plan: one is allowed" if "plan" in raw else "no algorithm: add `algorithm: NAME`"
        )
        problems.append(((index,), f"the rule names {what}"))
    return AlgorithmRule(**values)
