"""The rounds: every contender in turn runs a short batch, while all others sleep."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from benchmarks.host.cases import Case
from benchmarks.host.control import Message

Role: TypeAlias = Literal["hal", "peer", "limit"]
"""HAL itself, one of those that it is compared with, or what only shows how far they could get."""


class ContenderError(Exception):
    """A contender cannot start, go on, or do a case; the message is the reason."""


class WrongResultError(ContenderError):
    """A contender computed something else than it should."""


class Asked(Protocol):
    """What the conductor needs of the running ranks of a library (see launch.Team)."""

    def ask(self, order: Message, timeout: float) -> list[Message]:
        """Give an order to all ranks; their replies by rank. Raises `ContenderError`."""


@dataclass(frozen=True)
class Contender:
    """The ranks of a library with one kind of memory. Each HAL is compared with the best peer."""

    name: str
    label: str
    kind: str
    role: Role
    team: Asked


@dataclass(frozen=True)
class Pace:
    """How long to measure.

    A batch takes `batch` seconds or longer: it has at least `calls` calls, fewer where these take more than `longest`
    seconds, and one in any case. Rounds go on until `seconds` have passed for the case, but there are `min_rounds` to
    `max_rounds`. A contender has `timeout` seconds for one order.
    """

    batch: float = 0.002
    calls: int = 4
    longest: float = 0.02
    seconds: float = 2.0
    min_rounds: int = 5
    max_rounds: int = 60
    timeout: float = 60.0


@dataclass
class Sample:
    """A contender's microseconds a call, round by round; or `reason`, why there are none, and whether it was wrong."""

    rounds: list[float] = field(default_factory=list)
    iterations: int = 1
    reason: str | None = None
    is_wrong: bool = False


def measure(case: Case, contenders: Sequence[Contender], pace: Pace, memory: float = math.inf) -> dict[str, Sample]:
    """Every contender's sample, by name. One that fails keeps its reason alone; the others go on.

    Nothing is measured where the buffers of all would take more than `memory` bytes.
    """
    if case.memory * len(contenders) > memory:
        reason = f"the buffers of all contenders need {case.memory * len(contenders) / 2**30:.1f} GiB of memory"
        return {each.name: Sample(reason=reason) for each in contenders}
    runs = [_Run(contender, case, pace) for contender in contenders]
    for run in runs:
        run.prepare()
    deadline = time.monotonic() + pace.seconds
    able = [run for run in runs if run.sample.reason is None]
    done = 0
    while able and done < pace.max_rounds and (done < pace.min_rounds or time.monotonic() < deadline):
        first = done % len(able)
        for run in able[first:] + able[:first]:
            run.round()
        able = [run for run in able if run.sample.reason is None]
        done += 1
    for run in runs:
        run.release()
    return {run.contender.name: run.sample for run in runs}


class _Run:
    """One contender's part in a case."""

    def __init__(self, contender: Contender, case: Case, pace: Pace) -> None:
        self.contender = contender
        self.sample = Sample()
        self._case = case
        self._pace = pace

    def prepare(self) -> None:
        """Have it make its buffers and check its result, and find how many calls make a batch."""
        case, pace = self._case, self._pace
        with self._failing():
            what = {"collective": case.collective, "size": case.bytes, "source": case.source, "form": case.form}
            self._ask({"do": "prepare", **what})
            seconds = self._batch(1)
            calls = least = max(1, min(pace.calls, math.floor(pace.longest / seconds)))
            # the start of a batch takes longer than the rest, and now and then much longer: how many calls fill one is
            # seen where they have, twice
            if calls > 1:
                seconds = min(self._batch(calls), self._batch(calls))
            while seconds * calls < pace.batch:
                calls = min(8 * calls, max(2 * calls, math.ceil(pace.batch / seconds)))
                seconds = min(self._batch(calls), self._batch(calls))
            self.sample.iterations = max(least, round(pace.batch / seconds))

    def round(self) -> None:
        """One batch."""
        with self._failing():
            self._batch(self.sample.iterations)
            self.sample.rounds.append(self._net * 1e6)

    def release(self) -> None:
        """Have it let go of its buffers."""
        with contextlib.suppress(ContenderError):
            self._ask({"do": "release"})

    def _batch(self, iterations: int) -> float:
        """Run a batch: seconds a call, of the slowest rank, with refilling; `_net` keeps those without."""
        # caches hold what the contender before had in them: a tenth of a batch is not counted
        warmup = math.ceil(iterations / 10) if iterations > 1 else 0
        replies = self._ask({"do": "run", "iterations": iterations, "warmup": warmup})
        total = max(reply["total"] for reply in replies)
        fill = max(reply["fill"] for reply in replies)
        self._net = (total - fill) / iterations * 1e-9
        return float(total) / iterations * 1e-9

    def _ask(self, order: Message) -> list[Message]:
        replies = self.contender.team.ask({**order, "kind": self.contender.kind}, self._pace.timeout)
        for reply in replies:
            if "wrong" in reply:
                raise WrongResultError(reply["wrong"])
            if "error" in reply:
                raise ContenderError(reply["error"])
        return replies

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except ContenderError as failure:
            self.sample = Sample(reason=str(failure), is_wrong=isinstance(failure, WrongResultError))
