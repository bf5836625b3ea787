"""The executor kernel under sanitizers, with disturbed schedules; and sanitizers that see what they are there for."""

from __future__ import annotations

from pathlib import Path

import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal_collectives.algorithms import get

from ..collectives import plans
from .machine import (
    SANITIZERS,
    Job,
    algorithm_job,
    build_driver,
    check,
    even_parts,
    job_of,
    many_posts,
    run,
    shared_channels,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
OPS = (ReduceOp.SUM, ReduceOp.MIN, ReduceOp.MAX)
NAMES = ("one_phase", "two_phase", "two_phase_mapped", "all_pairs_ll", "staged", "ring", "recursive_doubling")
WRITTEN = (plans.packets, plans.packet_relay, plans.pipeline, plans.blocks, plans.several_results)


def jobs() -> list[Job]:
    """Every way for blocks and ranks to meet, several launches in a row, each under a schedule of its own."""
    made = []
    for seed, size in enumerate((1, 2, 3, 4), start=1):
        for number, name in enumerate(NAMES):
            algorithm = get("all_reduce", name)
            if algorithm.supports(size):
                seeded = seed * 100 + number
                made.append(algorithm_job(algorithm, size, 301, DType.INT32, ReduceOp.SUM, launches=5, seed=seeded))
        for number, make in enumerate(WRITTEN):
            if size > 1:
                made.append(job_of(make(size), 97, DType.INT32, launches=4, seed=seed * 200 + number))
        if size > 1:
            made.append(job_of(plans.ports(size), 97, DType.INT32, proxy=True, launches=6, seed=seed * 300))
            made.append(job_of(plans.ports(size), 97, DType.INT32, offset=4, seed=seed * 400))
            made.append(job_of(many_posts(size), 97, DType.INT32, proxy=True, launches=3, seed=seed * 700))
            made.append(job_of(plans.switched(size), 99 * size, DType.INT32, multicast=True, seed=seed * 800))
            made.append(job_of(plans.switched_ring(size), 96 * size, DType.INT32, multicast=True, seed=seed * 900))
        made.append(job_of(shared_channels(), 100, DType.INT32, launches=5, seed=seed * 500))
        made.append(job_of(even_parts(seed % 2), 96, DType.INT32, launches=3, seed=seed * 600))
    return made


@pytest.fixture(scope="module")
def sanitized(programs: Path, request: pytest.FixtureRequest) -> Path:
    return build_driver(programs, [DType.INT32], OPS, sanitizer=request.param)


@pytest.mark.parametrize("sanitized", SANITIZERS, indirect=True)
def test_nothing_is_reported(sanitized: Path, tmp_path: Path) -> None:
    made = jobs()
    for job, outcome in zip(made, run(sanitized, made, tmp_path, timeout=300), strict=True):
        check(job, outcome, job.mapped)


@pytest.mark.parametrize("sanitized", SANITIZERS, indirect=True)
def test_nothing_is_reported_of_launches_that_fail(sanitized: Path, tmp_path: Path) -> None:
    short = 300_000_000
    made = [
        job_of(plan, 64, DType.INT32, timeout_ns=short, launches=2, **how)
        for plan in (get("all_reduce", "two_phase").build(3), plans.packets(3), plans.blocks(3), plans.ports(3))
        for how in ({"absent": 2}, {"absent": 1, "aborted": 0})
    ]
    made.append(job_of(get("all_reduce", "ring").build(3), 64, DType.INT32, different={1: 9}, disagree=1))
    run(sanitized, made, tmp_path, timeout=300)


@pytest.mark.parametrize("weak", ["HAL_TEST_WEAK_RELEASE", "HAL_TEST_WEAK_ACQUIRE", "HAL_TEST_WEAK_ATOMIC"])
def test_the_thread_sanitizer_sees_orders_that_are_missing(programs: Path, tmp_path: Path, weak: str) -> None:
    program = build_driver(programs, [DType.INT32], [ReduceOp.SUM], sanitizer="thread", defines=[weak])
    makers = (get("all_reduce", "two_phase").build, plans.blocks)
    made = [job_of(make(2), 301, DType.INT32, launches=3, seed=1) for make in makers]
    with pytest.raises(AssertionError, match="data race"):
        run(program, made, tmp_path)


def test_the_address_sanitizer_sees_the_ends_of_memory(programs: Path, tmp_path: Path) -> None:
    program = build_driver(programs, [DType.INT32], OPS, sanitizer="address")
    job = job_of(get("all_reduce", "one_phase").build(2), 301, DType.INT32, missing=4)
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        run(program, [job], tmp_path)
