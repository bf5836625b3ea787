"""The executor kernel on CPUs runs the plans that every executor runs, and agrees with the reference bit for bit."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from hal.device import group
from hal.interface.dtypes import DType, ReduceOp
from hal.plan.builder import PlanBuilder
from hal_collectives.algorithms import get, provide

from ..collectives import plans
from .machine import Job, algorithm_job, check, even_parts, job_of, many_posts, run, shared_channels

ALGORITHMS = [algorithm for algorithm in provide() if algorithm.collective != "barrier"]
WRITTEN = [plans.packets, plans.packet_relay, plans.pipeline, plans.blocks, plans.ports, plans.several_results]
SIZES = [1, 2, 3, 4]


def test_every_algorithm(driver: Path, tmp_path: Path) -> None:
    jobs = [
        algorithm_job(algorithm, size, 203, DType.INT32, ReduceOp.SUM, seed=size)
        for algorithm in ALGORITHMS
        for size in SIZES
        if algorithm.supports(size)
    ]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        check(job, outcome, job.mapped)


def test_written_plans(driver: Path, tmp_path: Path) -> None:
    """Loops, parts, packets, barriers, semaphores, ports; several pieces, and no elements at all."""
    jobs = [
        job_of(make(size), count, DType.BFLOAT16, op, seed=count + size, launches=3)
        for make in WRITTEN
        for size in (2, 3)
        for count, op in ((0, ReduceOp.SUM), (17, ReduceOp.AVG), (1003, ReduceOp.MAX))
    ]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        check(job, outcome)


@pytest.mark.parametrize("proxy", [False, True])
def test_a_proxy_serves_posts(driver: Path, tmp_path: Path, proxy: bool) -> None:
    jobs = [job_of(plans.ports(size), 501, DType.INT32, proxy=proxy, seed=size, launches=4) for size in (2, 3, 4)]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        check(job, outcome)
        posts = job.plan.size * (job.plan.size - 1) * job.launches
        assert posts <= outcome.carried_out <= 2 * posts if proxy else outcome.carried_out == 0


def test_a_queue_that_is_full(driver: Path, tmp_path: Path) -> None:
    jobs = [job_of(many_posts(size), 1000, DType.INT32, proxy=True, launches=3) for size in (2, 3)]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        check(job, outcome)


def test_blocks_that_share_channels(driver: Path, tmp_path: Path) -> None:
    jobs = [job_of(shared_channels(), 100, DType.INT32, launches=5, seed=seed) for seed in range(20)]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        check(job, outcome)


def test_parts_of_even_chunks(driver: Path, tmp_path: Path) -> None:
    """Blocks that share a move, in loops whose scratch is a ring, and in loops whose scratch is as long as the data."""
    jobs = [
        job_of(even_parts(slots), count, dtype, op, seed=count, launches=3)
        for slots in (0, 1)
        for count, dtype, op in ((96, DType.INT32, ReduceOp.SUM), (992, DType.BFLOAT16, ReduceOp.AVG))
    ]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        check(job, outcome)


@pytest.mark.parametrize("lanes", [1, 2, 32])
def test_any_number_of_lanes(driver: Path, tmp_path: Path, lanes: int) -> None:
    names = ("all_pairs_ll", "two_phase", "ring")
    jobs = [job_of(get("all_reduce", name).build(2), 777, DType.BFLOAT16, lanes=lanes) for name in names]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        check(job, outcome)


def test_places_that_are_not_aligned(driver: Path, tmp_path: Path) -> None:
    """Buffers need no more alignment than their elements; input, output and scratch may differ in it."""
    jobs = [
        job_of(get("all_reduce", name).build(3), 333, DType.BFLOAT16, ReduceOp.MIN, offset=offset, lanes=5)
        for name in ("all_pairs_ll", "one_phase", "staged")
        for offset in (2, 4, 8, 16)
    ]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        check(job, outcome)


def test_in_place(driver: Path, tmp_path: Path) -> None:
    jobs = [
        algorithm_job(algorithm, 3, 203, DType.INT32, ReduceOp.SUM, in_place=True, seed=1)
        for algorithm in ALGORITHMS
        if algorithm.in_place and algorithm.supports(3)
    ]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        check(job, outcome, job.mapped)


def test_the_program_for_mapped_buffers_runs_where_all_are(driver: Path, tmp_path: Path) -> None:
    """The two plans do different things here, so that it shows which of them ran: a copy, or what a neighbour has."""
    plain, mapped = (PlanBuilder("custom", name=name, ranks=3, input_chunks=1, output_chunks=1) for name in "pm")
    for rank in plain.ranks:
        rank.block().copy(rank.output[0], rank.input[0])
    for rank in mapped.ranks:
        block, following = rank.block(), mapped.ranks[(rank.id + 1) % 3]
        block.signal(rank.others)
        block.wait(rank.others)
        block.copy(rank.output[0], following.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
    everywhere = job_of(plain.build(), 300, DType.INT32, mapped=mapped.build(), seed=1)
    somewhere = job_of(plain.build(), 300, DType.INT32, mapped=mapped.build(), registered=[0, 2])
    first, second = run(driver, [everywhere, somewhere], tmp_path)
    check(everywhere, first, everywhere.mapped)
    check(somewhere, second)


def test_what_blocks_count_begins_anew_with_each_launch(driver: Path, tmp_path: Path) -> None:
    """Also where the program for mapped buffers alone has barriers, semaphores and channels that blocks share."""
    plain = get("all_reduce", "one_phase")
    jobs = [
        job_of(plain.build(mapped.size), 96, DType.INT32, mapped=mapped, launches=5)
        for mapped in (plans.blocks(3), shared_channels())
    ]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        check(job, outcome, job.mapped)


def test_launch_numbers_of_any_size(driver: Path, tmp_path: Path) -> None:
    jobs = [
        job_of(get("all_reduce", "all_pairs_ll").build(2), 100, DType.INT32, first_launch=first, launches=5)
        for first in (0, 1000, (1 << 32) - 10, (1 << 33) + 5)
    ]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        check(job, outcome)


def test_the_group_is_packed_as_kernels_read_it(driver: Path, tmp_path: Path) -> None:
    """What C++ made of its own structure is what Python packs of the same values."""
    job = job_of(plans.ports(3), 100, DType.INT32, proxy=True)
    (outcome,) = run(driver, [job], tmp_path)
    controls = set()
    for rank, packed in enumerate(outcome.groups):
        head, rest = struct.unpack_from("=8Q", packed), struct.unpack_from("=9Q", packed, 64)
        assert head[:2] == (rank, 3)
        scratch_bytes, arena_bytes, host, local, queue, reserved = head[2:]
        assert (scratch_bytes % 128, arena_bytes >= 1200, reserved) == (0, True, 0)
        members = [group.MemberMemory(*rest[3 * m : 3 * m + 3]) for m in range(3)]
        controls.add(tuple(member.control for member in members))
        sizes = {"scratch_bytes": scratch_bytes, "arena_bytes": arena_bytes}
        assert packed == group.pack_group(rank, members, **sizes, host=host, local=local, queue=queue)
    assert len(controls) == 1
    assert len(set(controls.pop())) == 3


def switched_jobs(multicast: bool) -> list[Job]:
    """Plans with switch channels: aligned alike in every way, at other places, and of types that no switch reduces."""
    makes = (plans.switched, lambda size: plans.switched(size, loads=False), plans.switched_ring)
    calls: list[tuple[int, ReduceOp, int]] = [
        (count, ReduceOp.SUM, offset) for count, offset in ((256, 0), (259, 0), (256, 4))
    ]
    calls += [(36, ReduceOp.AVG, 0), (3, ReduceOp.MAX, 0)]
    jobs = []
    for make in makes:
        for size in (2, 3):
            for seed, (count, op, offset) in enumerate(calls):
                whole = (count + 3 & ~3 if make is plans.switched_ring else count) * size
                jobs.append(job_of(make(size), whole, DType.INT32, op, offset=offset, multicast=multicast, seed=seed))
    return jobs + [job_of(make(2), 512, DType.BFLOAT16, multicast=multicast) for make in makes]


def test_switch_channels(driver: Path, tmp_path: Path) -> None:
    """With multicast memory and without they end alike, in every bit."""
    with_it, without = switched_jobs(multicast=True), switched_jobs(multicast=False)
    outcomes = run(driver, with_it + without, tmp_path)
    for job, outcome in zip(with_it + without, outcomes, strict=True):
        check(job, outcome)
    assert all(outcome.multicast == 0 for outcome in outcomes[len(with_it) :])
    # of 256 elements a rank loads and stores 64 packs at once
    assert outcomes[0].multicast == 2 * 64 * 2 * 2
    used = [job.dtype is DType.INT32 and job.offset == 0 for job in with_it]
    assert all(outcome.multicast > 0 for outcome, uses in zip(outcomes, used, strict=False) if uses)


def test_multicast_memory_changes_nothing_else(driver: Path, tmp_path: Path) -> None:
    jobs = [job_of(get("all_reduce", "one_phase").build(3), 203, DType.INT32, multicast=True)]
    jobs += [job_of(plans.ports(3), 501, DType.INT32, proxy=True, multicast=True)]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        check(job, outcome)
        assert outcome.multicast == 0
