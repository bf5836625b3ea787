"""The processes of a benchmark: join the job that this one belongs to, or start one."""

from __future__ import annotations

import sys
from typing import BinaryIO, cast

from hal.bootstrap import Launch, detect
from hal.bootstrap.launcher import run_ranks
from hal.interface.errors import UsageError
from hal_collectives.bench.cases import cases
from hal_collectives.bench.screen import LinesTo, Screen
from hal_collectives.bench.session import run
from hal_collectives.bench.settings import Settings
from hal_collectives.launch import init

DEFAULT_RANKS = 2
WRONG_RESULTS = 1
"""The exit status where a result was wrong."""


def bench(settings: Settings, ranks: int | None = None) -> int:
    """Measure and return the exit status: 0 where all results are right, 1 where one is wrong.

    A process of a job (`hal run`, torchrun, mpirun, srun) joins the others. Any other process starts `ranks`
    processes (2 where not given) on this machine; their failure has the status that `run_ranks` gives it.
    """
    place = detect()
    if place.launcher != "single":
        if ranks is not None and ranks != place.size:
            raise UsageError(
                f"--ranks is {ranks}, but this is a job of {place.size} ranks ({place.launcher}): leave it out"
            )
        settings.check(place.size)
        return join(settings, place)
    wanted = DEFAULT_RANKS if ranks is None else ranks
    settings.check(wanted)
    labels = [case.label for case in cases(settings, wanted)]
    return join(settings, place) if wanted == 1 else _start(settings, wanted, labels)


def join(settings: Settings, place: Launch | None = None) -> int:
    """Measure as one rank of the job; every rank gets the same exit status, as of `bench`."""
    with init(config_path=settings.config, launch=place, timeout=settings.timeout) as comm:
        if comm.rank == 0:
            labels = [case.label for case in cases(settings, comm.size)]
            with Screen(labels, output=sys.stdout, progress=sys.stderr.isatty()) as screen:
                report = run(comm, settings, screen)
        else:
            report = run(comm, settings, None)
    return WRONG_RESULTS if report.failures else 0


def _start(settings: Settings, ranks: int, labels: list[str]) -> int:
    """Start the ranks as `hal run` does. Their stderr is a pipe, so how far they are is shown here."""
    program = ["hal_collectives.bench", settings.to_json()]
    if not sys.stderr.isatty():
        return run_ranks(program, ranks, module=True, prefix=False)
    with Screen(labels, output=sys.stdout, progress=True) as screen:
        outputs = LinesTo(screen), LinesTo(screen, errors=True)
        stdout, stderr = (cast(BinaryIO, output) for output in outputs)
        return run_ranks(program, ranks, module=True, prefix=False, stdout=stdout, stderr=stderr)
