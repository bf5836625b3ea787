"""A benchmark from beginning to end, on the ranks of a communicator."""

from __future__ import annotations

from hal import config
from hal_collectives.bench import table
from hal_collectives.bench.buffers import Buffers
from hal_collectives.bench.cases import cases
from hal_collectives.bench.environment import describe, describe_ranks
from hal_collectives.bench.measure import measure
from hal_collectives.bench.plot import write_plot
from hal_collectives.bench.report import Report, Row, make_row
from hal_collectives.bench.screen import Screen
from hal_collectives.bench.settings import Settings
from hal_collectives.communicator import Communicator


def run(comm: Communicator, settings: Settings, screen: Screen | None) -> Report:
    """Measure all that the settings ask for; every rank calls it and gets the report.

    Rank 0 gives a screen, on which the table appears row by row, and writes the files. When it returns, all ranks are
    done. `UsageError` for settings that cannot be, before anything is measured.
    """
    settings.check(comm.size)
    all_cases = cases(settings, comm.size)
    backend = config.load(settings.config).backend
    ranks = describe_ranks(comm, backend)
    buffers = Buffers(comm, all_cases, mapped=settings.mapped)
    named = len(settings.collectives) > 1
    if screen is not None:
        for text in table.preamble(settings, ranks) + table.header(named=named):
            screen.line(text)
    rows: list[Row] = []
    for number, case in enumerate(all_cases):
        out_of_place = measure(comm, case, buffers, settings, in_place=False, seed=2 * number)
        in_place = None
        if case.in_place:
            in_place = measure(comm, case, buffers, settings, in_place=True, seed=2 * number + 1)
        rows.append(make_row(case, comm.size, out_of_place, in_place))
        if screen is not None:
            screen.line(table.line(rows[-1], named=named))
    report = Report(describe(comm, backend, ranks), settings, tuple(rows))
    if screen is not None:
        for text in table.closing(report):
            screen.line(text)
        if settings.json is not None:
            report.write(settings.json)
        if settings.plot is not None:
            write_plot(report, settings.plot)
    # a launcher ends all ranks when one exits with an error, as each does where results are wrong
    comm.barrier()
    return report
