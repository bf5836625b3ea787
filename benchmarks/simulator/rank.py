"""One rank of a measurement: runs the plans that a job names, and rank 0 writes the times.

Run by `run_ranks` as `python -m benchmarks.simulator.rank JOB`, where JOB is a JSON file.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulator.probes import PROBES
from hal import bootstrap, config
from hal.interface.dtypes import DType
from hal.plan import Plan
from hal.runtime.group import Group, open_device
from hal_collectives.algorithms import get
from hal_collectives.buffers import empty

TIMEOUT = 60.0
_SCRATCH = "128M"
"""Of two launches: trees and doubling need several messages."""


def plan_of(case: dict[str, Any], ranks: int) -> Plan:
    """The plan of a probe or of an algorithm."""
    if "probe" in case:
        return PROBES[case["probe"]]()
    return get(case["collective"], case["algorithm"]).build(ranks, 0 if case["collective"] == "broadcast" else None)


def count_of(plan: Plan, nbytes: int) -> int:
    """The elements of a call whose larger buffer has so many bytes of float32."""
    chunks = max(max(rank.input_chunks, rank.output_chunks) for rank in plan.ranks)
    return nbytes // 4 * plan.split // chunks


def measure(group: Group, plan: Plan, nbytes: int, seconds: float, rounds: int) -> float:
    """Seconds of a launch: of the slowest rank, the median over rounds."""
    count = count_of(plan, nbytes)
    part = plan.ranks[group.rank]
    source = empty(group.device, part.input_chunks * count // plan.split, np.float32)
    target = empty(group.device, part.output_chunks * count // plan.split, np.float32)
    source[...] = 0
    target[...] = 0
    executable = group.load(plan, count, DType.FLOAT32)
    where = (_address(source), source.nbytes, _address(target), target.nbytes, TIMEOUT)

    def run(times: int) -> float:
        group.exchange(b"ready")
        start = time.perf_counter()
        for _ in range(times):
            executable.run(*where)
        return (time.perf_counter() - start) / times

    first = max(float(said) for said in group.exchange(repr(run(3)).encode()))
    times = max(1, min(10_000, int(seconds / rounds / first)))
    run(max(1, times // 4))
    own = [run(times) for _ in range(rounds)]
    every = [json.loads(said) for said in group.exchange(json.dumps(own).encode())]
    return float(statistics.median(max(each) for each in zip(*every, strict=True)))


def main() -> None:
    """Do the job: cases with bytes, seconds and rounds of each, and where to write."""
    job = json.loads(Path(sys.argv[1]).read_text())
    settings = config.load(None, {"backend": "host", "host.scratch_size": _SCRATCH})
    place = bootstrap.detect()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[place.rank % len(cores)]})
    with contextlib.ExitStack() as stack:
        store = bootstrap.connect(place, timeout=TIMEOUT)
        stack.callback(store.close)
        device = open_device("host", settings.section("host"))
        # the probes are no collectives: they leave their results unused
        group = Group(device, store, tuple(range(place.size)), name="simulator", timeout=TIMEOUT, verify=False)
        stack.callback(group.close)
        found = [
            measure(group, plan_of(case, place.size), case["bytes"], job["seconds"], job["rounds"])
            for case in job["cases"]
        ]
        if place.rank == 0:
            Path(job["output"]).write_text(json.dumps(found))


def _address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0]) if array.nbytes else 0


if __name__ == "__main__":
    main()
