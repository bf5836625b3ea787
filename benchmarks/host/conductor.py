"""The rounds: every contender in turn runs a short batch, while all others sleep."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.host.cases import Case
from benchmarks.host.control import Message
from benchmarks.host.launch import TeamFailure


class Asked(Protocol):
    """What the conductor needs of a team (see launch.Team)."""

    def ask(self, order: Message, timeout: float) -> list[Message]:
        """Give an order to all ranks; their replies. Raises `TeamFailure`."""


@dataclass(frozen=True)
class Pace:
    """How long to measure.

    `batch` seconds a batch, at least one call; rounds until `seconds` have passed for the case, but from `min_rounds`
    to `max_rounds`. `timeout` seconds are what a contender has for one order.
    """

    batch: float = 0.002
    seconds: float = 2.0
    min_rounds: int = 5
    max_rounds: int = 60
    timeout: float = 60.0


@dataclass
class Contender:
    """A team with one kind of memory. `is_peer` says that HAL is compared with it."""

    name: str
    label: str
    kind: str
    is_peer: bool
    team: Asked


@dataclass
class Sample:
    """A contender's microseconds a call, round by round; or `reason`: why there are none."""

    rounds: list[float] = field(default_factory=list)
    iterations: int = 1
    reason: str | None = None
    is_wrong: bool = False


class CaseFailure(Exception):
    """A contender cannot do a case; the message is the reason."""


class WrongResult(CaseFailure):
    """It computed something else than it should."""


def measure(case: Case, contenders: Sequence[Contender], pace: Pace) -> dict[str, Sample]:
    """Every contender's sample, by name. One that fails keeps its reason alone; the others go on."""
    samples = {contender.name: Sample() for contender in contenders}
    able = [c for c in contenders if _attempt(samples[c.name], lambda c=c: _prepare(c, case, pace))]  # type: ignore[misc]
    able = [c for c in able if _attempt(samples[c.name], lambda c=c: _calibrate(c, samples[c.name], pace))]  # type: ignore[misc]
    deadline = time.monotonic() + pace.seconds
    done = 0
    while able and done < pace.max_rounds and (done < pace.min_rounds or time.monotonic() < deadline):
        first = done % len(able)
        for contender in able[first:] + able[:first]:
            sample = samples[contender.name]
            _attempt(sample, lambda c=contender, s=sample: s.rounds.append(_batch(c, s.iterations, pace)))  # type: ignore[misc]
        able = [c for c in able if samples[c.name].reason is None]
        done += 1
    for contender in contenders:
        _attempt(Sample(), lambda c=contender: _ask(c, {"do": "release"}, pace))  # type: ignore[misc]
    return samples
