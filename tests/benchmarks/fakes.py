"""Contenders without processes: their batches take a known time, by a clock that only they move."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.host.conductor import Contender, ContenderError, Role


@dataclass
class FakeTeam:
    """Ranks that answer like those of rank.py; `speeds` are nanoseconds a call, rank by rank.

    A batch takes `start` more, and the one of number `late` ten times as much.
    """

    speeds: tuple[int, ...] = (100_000, 200_000)
    fill: int = 0
    start: int = 0
    late: int = 0
    wrong_at: int | None = None
    dies_after: int | None = None
    journal: list[str] = field(default_factory=list)
    name: str = ""
    batches: list[int] = field(default_factory=list)

    def ask(self, order: dict[str, Any], timeout: float) -> list[dict[str, Any]]:
        if self.dies_after is not None and len(self.batches) >= self.dies_after:
            raise ContenderError("rank 1 ended: killed")
        if order["do"] == "prepare" and order["size"] == self.wrong_at:
            return [{}, {"wrong": "1 of 4 elements are wrong on rank 1"}]
        if order["do"] != "run":
            return [{} for _ in self.speeds]
        count = order["iterations"]
        start = self.start * (10 if len(self.batches) == self.late else 1)
        self.batches.append(count)
        self.journal.append(self.name)
        return [{"total": start + count * (speed + self.fill), "fill": count * self.fill} for speed in self.speeds]


def contender(name: str, team: FakeTeam, *, role: Role = "peer") -> Contender:
    team.name = name
    return Contender(name, name.upper(), "plain", role, team)
