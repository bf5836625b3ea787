"""The results of a run, as they are in the JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from benchmarks.host.cases import Case
from benchmarks.host.conductor import Contender, Role, Sample
from benchmarks.host.statistics import Summary, best, ratio

_DISTURBING_CORES = 0.2


@dataclass
class Entry:
    """A contender's result for a case: microseconds a call, or why there are none.

    `ratio` is the best peer's time divided by this one's, for HAL's contenders: above 1 HAL is faster.
    """

    microseconds: Summary | None = None
    iterations: int = 0
    rounds: int = 0
    ratio: Summary | None = None
    reason: str | None = None
    is_wrong: bool = False

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The entry that `asdict` made `data` of."""
        summaries = {name: Summary(**data[name]) if data[name] else None for name in ("microseconds", "ratio")}
        return cls(**{**data, **summaries})


@dataclass
class Row:
    """A case and every contender's entry, by name; and the name of the best peer."""

    case: Case
    entries: dict[str, Entry]
    best_peer: str | None

    @classmethod
    def of(cls, case: Case, contenders: Sequence[Contender], samples: Mapping[str, Sample]) -> Self:
        """Summarise what was measured."""
        rounds = {name: sample.rounds for name, sample in samples.items()}
        peer = best(rounds, [c.name for c in contenders if c.role == "peer"])
        entries = {}
        for contender in contenders:
            sample = samples[contender.name]
            entry = Entry(iterations=sample.iterations, rounds=len(sample.rounds))
            entry.reason, entry.is_wrong = sample.reason, sample.is_wrong
            if sample.rounds:
                entry.microseconds = Summary.of(sample.rounds)
                if peer is not None and contender.role == "hal":
                    entry.ratio = ratio(rounds[peer], sample.rounds)
            entries[contender.name] = entry
        return cls(case, entries, peer)


@dataclass
class Report:
    """A whole run. `labels` names the columns, `versions` and `settings` say what ran, `roles` what each is for.

    `not_run` has the reason for each contender that did not start at a rank count: (contender, ranks, reason).
    `idle_cores` is the processor time, in cores, that all ranks together used while all of them were asleep, by rank
    count, and `foreign_cores` what everything else on the machine used at that time.
    """

    machine: dict[str, Any]
    command: str
    pace: dict[str, Any]
    labels: dict[str, str] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    limits: dict[str, Any] | None = None
    limits_reason: str | None = None
    idle_cores: dict[int, float] = field(default_factory=dict)
    foreign_cores: dict[int, float] = field(default_factory=dict)
    not_run: list[tuple[str, int, str]] = field(default_factory=list)
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)

    def tables(self) -> Iterator[tuple[Case, list[Row]]]:
        """The rows of the same collective, ranks, form and source; each group with its first case."""
        for _, group in groupby(self.rows, key=lambda row: replace(row.case, bytes=0)):
            rows = list(group)
            yield rows[0].case, rows

    def named(self, role: Role) -> list[str]:
        """The contenders that are there for this."""
        return [name for name, each in self.roles.items() if each == role]

    def copy_us(self, threads: int, size: int) -> float | None:
        """Microseconds in which `threads` cores at the same time copy `size` bytes each; None if not measured."""
        copies: list[dict[str, float]] = self.limits["copies"] if self.limits else []
        return next((c["us"] for c in copies if (c["threads"], c["bytes"]) == (threads, size)), None)

    def is_disturbed(self, ranks: int) -> bool:
        """Whether other processes used so much that the numbers at this rank count mean little."""
        return self.foreign_cores.get(ranks, 0.0) > _DISTURBING_CORES

    @property
    def has_wrong(self) -> bool:
        """Whether any contender computed something wrong."""
        return any(entry.is_wrong for row in self.rows for entry in row.entries.values())

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        path.write_text(json.dumps(_rounded(asdict(self)), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        data = json.loads(path.read_text())
        for name in ("idle_cores", "foreign_cores"):
            data[name] = {int(ranks): value for ranks, value in data[name].items()}
        data["not_run"] = [tuple(each) for each in data["not_run"]]
        data["rows"] = [
            Row(Case(**row["case"]), {k: Entry.from_json(v) for k, v in row["entries"].items()}, row["best_peer"])
            for row in data["rows"]
        ]
        return cls(**data)


def _rounded(value: Any) -> Any:
    """Four significant digits are more than the measurement has."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, (list, tuple)) else value
