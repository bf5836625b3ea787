"""More ranks than processors: those who wait sleep, and leave the processor to those who work."""

from __future__ import annotations

import pytest

from .ranks import Job


def test_waiting_costs_no_processor_time() -> None:
    with Job(3, "wait_idly", seconds=1.5) as job:
        spent = [said["cpu"] for said in job.expect("waited", [1, 2])]
    print(f"waiting for 1.5 s took {', '.join(f'{s * 1e3:.0f}' for s in spent)} ms of processor time")
    assert max(spent) < 0.5


@pytest.mark.parametrize(("size", "rounds"), [(8, 20), pytest.param(16, 200, marks=pytest.mark.slow)])
def test_many_ranks_on_few_processors(size: int, rounds: int) -> None:
    with Job(size, "crowd", rounds=rounds) as job:
        times = job.expect("times")[0]
    print(", ".join(f"{name} on {size} ranks: median {times[name] * 1e6:.0f} µs" for name in ("barrier", "all_reduce")))
    assert max(times["barrier"], times["all_reduce"]) < 0.1
