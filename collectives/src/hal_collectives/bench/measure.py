"""One row: time the calls of a case, then check what a last call gives."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal_collectives.bench.buffers import Buffers
from hal_collectives.bench.calls import bind
from hal_collectives.bench.cases import Case
from hal_collectives.bench.expected import (
    count_changed_input,
    count_wrong_output,
    fill_input,
    output_pieces,
    poison,
    sends,
)
from hal_collectives.bench.settings import Settings
from hal_collectives.bench.values import Values
from hal_collectives.communicator import Communicator

_ACROSS_RANKS: dict[str, Callable[[NDArray[Any]], Any]] = {
    "rank0": lambda times: times[0],
    "avg": lambda times: times.mean(axis=0),
    "min": lambda times: times.min(axis=0),
    "max": lambda times: times.max(axis=0),
}


@dataclass(frozen=True)
class Measurement:
    """Seconds a call, one value a round, and the wrong elements of all ranks (None where nothing was checked)."""

    rounds: tuple[float, ...]
    wrong: int | None

    @property
    def seconds(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.rounds)


def measure(
    comm: Communicator, case: Case, buffers: Buffers, settings: Settings, *, in_place: bool, seed: int
) -> Measurement:
    """Time the case and check it. All ranks call this together, and all get the same result."""
    source, target = buffers.views(case, in_place=in_place)
    values = Values(case.dtype, case.op, comm.size, seed)
    if in_place:
        # repeated in place, a reduction of zeros stays zero, where other values would run into infinity
        source.fill(0)
        target.fill(0)
    else:
        fill_input(source, values, comm.rank)
    call = bind(comm, case, source, target)
    rounds = _time(comm, call, settings)
    if not settings.validate:
        return Measurement(rounds, None)
    poison(target)
    if in_place:
        poison(source)
        if sends(case.collective, comm.rank, case.root or 0):
            fill_input(source, values, comm.rank)
    call()
    pieces = output_pieces(case.collective, comm.rank, comm.size, case.root or 0, case.message.count)
    wrong = count_wrong_output(target, pieces, values)
    if not in_place:
        wrong += count_changed_input(source, values, comm.rank)
    # what this rank saw counts even if the sum over all ranks is itself wrong: it comes by the calls under test
    return Measurement(rounds, max(wrong, int(_from_all_ranks(comm, [wrong]).sum())))


def _time(comm: Communicator, call: Callable[[], object], settings: Settings) -> tuple[float, ...]:
    """Seconds a call, one value a round."""
    for _ in range(settings.warmup):
        call()
    own = []
    for _ in range(settings.rounds):
        comm.barrier()
        begin = time.perf_counter()
        for _ in range(settings.iterations):
            call()
        own.append((time.perf_counter() - begin) / settings.iterations)
    merged = _ACROSS_RANKS[settings.average](_from_all_ranks(comm, own))
    return tuple(float(seconds) for seconds in merged)


def _from_all_ranks(comm: Communicator, numbers: Sequence[float]) -> NDArray[Any]:
    """The numbers of all ranks, a row each."""
    mine = np.asarray(numbers, np.float64)
    everyone = np.empty(comm.size * len(mine), np.float64)
    comm.all_gather(mine, everyone)
    return everyone.reshape(comm.size, len(mine))
