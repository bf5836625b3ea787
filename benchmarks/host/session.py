"""A whole run: for each rank count the ranks of every contender, then case after case."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.host import machine
from benchmarks.host.cases import Case, cases, default_sources
from benchmarks.host.conductor import Contender, ContenderError, Pace, measure
from benchmarks.host.contenders import Library
from benchmarks.host.launch import Team
from benchmarks.host.limits import DRAM_BYTES, Limits, LimitsError
from benchmarks.host.results import Report, Row

_IDLE_SECONDS = 1.0
_MEMORY_SHARE = 0.6
"""Of what is free: libraries need buffers of their own besides."""


@dataclass(frozen=True)
class Settings:
    """What to measure. `sources` None: `cases.default_sources`. `absent` says why libraries are not installed."""

    collectives: Sequence[str]
    ranks: Sequence[int]
    sources: tuple[str, ...] | None
    quick: bool
    pace: Pace
    libraries: Sequence[Library]
    absent: dict[str, str]

    def cases(self, ranks: int) -> list[Case]:
        """All cases at a rank count."""
        sources = self.sources or default_sources(ranks)
        return [case for name in self.collectives for case in cases(name, ranks, sources, quick=self.quick)]


def run(settings: Settings, report: Report, environment: Path, say: Callable[[str], None]) -> None:
    """Measure everything into `report`."""
    for library in settings.libraries:
        for kind in library.kinds:
            name = library.contender(kind)
            report.labels[name] = library.contender_label(kind)
            report.settings[name] = library.settings
            report.roles[name] = library.role(kind)
    start = time.monotonic()
    with ExitStack() as stack:
        limits = None
        try:
            limits = stack.enter_context(Limits())
        except LimitsError as error:
            report.limits_reason = str(error)
        for ranks in settings.ranks:
            if limits is not None:
                _measure_limits(limits, settings, ranks)
                report.limits = limits.result()
            _run_ranks(settings, ranks, report, environment, say)
    report.seconds = time.monotonic() - start


def _measure_limits(limits: Limits, settings: Settings, ranks: int) -> None:
    sizes = {case.bytes for count in settings.ranks for case in settings.cases(count) if case.bytes >= 1024}
    sizes |= {machine.l2_bytes() // 4, DRAM_BYTES}
    for threads in sorted({1, min(ranks, len(os.sched_getaffinity(0)))}):
        limits.measure(threads, sorted(sizes))


def _run_ranks(settings: Settings, ranks: int, report: Report, environment: Path, say: Callable[[str], None]) -> None:
    with ExitStack() as stack:
        teams: list[Team] = []
        contenders: list[Contender] = []
        for library in settings.libraries:
            names = {kind: library.contender(kind) for kind in library.kinds}
            try:
                if library.name in settings.absent:
                    raise ContenderError(settings.absent[library.name])
                say(f"{ranks} ranks: starting {library.label}")
                team = Team(library, ranks, environment)
            except ContenderError as failure:
                say(f"{ranks} ranks: {library.label} not run: {failure}")
                report.not_run += [(name, ranks, str(failure)) for name in names.values()]
                continue
            stack.callback(team.close)
            teams.append(team)
            for kind, name in names.items():
                if name in settings.absent:
                    report.not_run.append((name, ranks, settings.absent[name]))
                    continue
                report.versions[name] = team.version
                contenders.append(Contender(name, library.contender_label(kind), kind, library.role(kind), team))
        report.idle_cores[ranks], report.foreign_cores[ranks] = _idle(teams)
        if report.is_disturbed(ranks):
            say(f"other processes use {report.foreign_cores[ranks]:.2f} cores: what follows is disturbed by them")
        for case in settings.cases(ranks):
            memory = _MEMORY_SHARE * psutil.virtual_memory().available
            row = Row.of(case, contenders, measure(case, contenders, settings.pace, memory))
            report.rows.append(row)
            say(_line(row, report))


def _idle(teams: Sequence[Team]) -> tuple[float, float]:
    """Cores in use while all ranks should be asleep: by the ranks, and by everything else on this machine."""
    before = sum(team.cpu_seconds() for team in teams)
    start = time.monotonic()
    busy = psutil.cpu_percent(interval=_IDLE_SECONDS) / 100 * (psutil.cpu_count() or 1)
    ours = (sum(team.cpu_seconds() for team in teams) - before) / (time.monotonic() - start)
    return ours, max(0.0, busy - ours)


def _line(row: Row, report: Report) -> str:
    case = row.case
    parts = [
        f"{report.labels[name]} {entry.microseconds.median:.4g}" if entry.microseconds else f"{report.labels[name]} –"
        for name, entry in row.entries.items()
    ]
    what = f"{case.collective} {case.ranks} ranks {case.form} {case.bytes} B {case.source}"
    return f"{what}: {', '.join(parts)} µs"
