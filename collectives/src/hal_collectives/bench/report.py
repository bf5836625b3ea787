"""The results: rows, what they were measured on, and their form as a JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hal.interface.dtypes import DType
from hal.interface.errors import UsageError
from hal_collectives.bench.cases import Case
from hal_collectives.bench.formulas import algorithm_bandwidth, bus_factor
from hal_collectives.bench.measure import Measurement
from hal_collectives.bench.settings import Settings

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Result:
    """One half of a row: microseconds a call (the median, and each round), GB/s, and wrong elements.

    `wrong` is None where nothing was checked.
    """

    time_us: float
    rounds_us: tuple[float, ...]
    algbw: float
    busbw: float
    wrong: int | None


@dataclass(frozen=True)
class Row:
    """A row of the table. `size` is in bytes, `count` in elements; `redop` and `root` are None where there is none."""

    collective: str
    size: int
    count: int
    dtype: str
    redop: str | None
    root: int | None
    out_of_place: Result
    in_place: Result | None

    @property
    def results(self) -> tuple[Result, ...]:
        """Both halves, or the one that there is."""
        return (self.out_of_place,) if self.in_place is None else (self.out_of_place, self.in_place)


@dataclass(frozen=True)
class Report:
    """A whole benchmark. `environment` says what it ran on."""

    environment: dict[str, Any]
    settings: Settings
    rows: tuple[Row, ...]

    @property
    def failures(self) -> int:
        """How many results had wrong elements."""
        return sum(1 for row in self.rows for result in row.results if result.wrong)

    @property
    def average_bus_bandwidth(self) -> float:
        """The mean over all results in GB/s; those without data (barrier) are left out. 0 where there is none."""
        values = [result.busbw for row in self.rows if row.size for result in row.results]
        return sum(values) / len(values) if values else 0.0

    def to_json(self) -> str:
        """As text that `from_json` reads."""
        content = {
            "schema_version": SCHEMA_VERSION,
            "environment": self.environment,
            "settings": asdict(self.settings),
            "rows": [asdict(row) for row in self.rows],
            "failures": self.failures,
            "average_bus_bandwidth": self.average_bus_bandwidth,
        }
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """The report that `to_json` wrote; `UsageError` where the text is something else."""
        try:
            content = json.loads(text)
            version = content["schema_version"]
            if version != SCHEMA_VERSION:
                raise UsageError(f"results have schema_version {version!r}: this version reads {SCHEMA_VERSION}")
            settings = Settings.from_json(json.dumps(content["settings"]))
            return cls(content["environment"], settings, tuple(_row(row) for row in content["rows"]))
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise UsageError(f"these are no results of hal bench: {error!r}") from None

    def write(self, path: str | Path) -> None:
        """Write the JSON file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")


def make_row(case: Case, ranks: int, out_of_place: Measurement, in_place: Measurement | None) -> Row:
    """The row of a case from what was measured."""
    return Row(
        case.collective.label,
        case.size,
        case.message.count,
        case.dtype.label,
        case.op.label if case.op is not None else None,
        case.root,
        _result(case, ranks, out_of_place),
        _result(case, ranks, in_place) if in_place is not None else None,
    )


def _result(case: Case, ranks: int, measurement: Measurement) -> Result:
    algbw = algorithm_bandwidth(case.size, measurement.seconds)
    return Result(
        measurement.seconds * 1e6,
        tuple(seconds * 1e6 for seconds in measurement.rounds),
        algbw,
        algbw * bus_factor(case.collective, ranks),
        measurement.wrong,
    )


def _row(fields: dict[str, Any]) -> Row:
    halves = {
        name: Result(**{**half, "rounds_us": tuple(half["rounds_us"])}) if half is not None else None
        for name in ("out_of_place", "in_place")
        for half in [fields[name]]
    }
    DType.of(fields["dtype"])
    return Row(**{**fields, **halves})
