"""Launches that cannot end: a rank that never enters, calls that differ, an abort. Nobody hangs, and all say why."""

from __future__ import annotations

import re
from pathlib import Path

from hal.interface.dtypes import DType
from hal.plan.builder import PlanBuilder
from hal.plan.model import Plan
from hal.runtime import stall
from hal.runtime.stall import Failure, Waiting
from hal_collectives.algorithms import get

from ..collectives import plans
from .machine import Job, Outcome, job_of, run, shared_channels

SHORT = 1_000_000_000


def lines(job: Job, outcome: Outcome, rank: int) -> list[str]:
    return stall.lines(job.plan, rank, range(job.plan.size), outcome.reports[rank])


def ends(outcome: Outcome, rank: int) -> tuple[Failure, int, bool]:
    last = outcome.statuses[rank][-1]
    return last.failure, last.member, last.mismatch


def test_a_rank_that_never_enters(driver: Path, tmp_path: Path) -> None:
    """Every other rank fails alike, and each says at which instruction it stands."""
    names = ("one_phase", "all_pairs_ll", "ring")
    jobs = [
        job_of(get("all_reduce", name).build(3), 100, DType.INT32, absent=2, timeout_ns=SHORT, launches=3)
        for name in names
    ]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        assert len(outcome.statuses[2]) == 2
        assert {ends(outcome, rank)[0] for rank in (0, 1)} == {Failure.STALL}
        # whoever was first, all agree on it
        assert outcome.failures[0] == outcome.failures[1] == outcome.failures[2]
        assert outcome.failures[0] in {(Failure.STALL, rank, 3) for rank in (0, 1)}
        assert outcome.reports[2] == []
        for rank in (0, 1):
            assert outcome.calls[rank][2] is None
            assert outcome.reports[rank]
            for line in lines(job, outcome, rank):
                assert (
                    line.startswith(f"rank {rank}, block ")
                    or line == f"rank {rank}: waits for rank 2 to enter this call"
                )


def test_a_rank_that_is_not_needed_is_waited_for_all_the_same(driver: Path, tmp_path: Path) -> None:
    """No call ends before all have entered it: the broadcast's root sends, and then waits for those who receive."""
    job = job_of(get("broadcast", "publish").build(2, 0), 32, DType.INT32, absent=1, timeout_ns=SHORT, launches=1)
    (outcome,) = run(driver, [job], tmp_path)
    assert lines(job, outcome, 0)[0] == "rank 0: waits for rank 1 to enter this call"


def test_the_report_is_that_of_the_host_backend(driver: Path, tmp_path: Path) -> None:
    waits = job_of(plans.several_results(2), 10, DType.INT32, absent=1, timeout_ns=SHORT, launches=1)
    packets = job_of(plans.packets(2), 64, DType.INT32, absent=1, timeout_ns=SHORT, launches=1)
    waiting, missing = run(driver, [waits, packets], tmp_path)
    assert lines(waits, waiting, 0) == [
        "rank 0, block 0, at instruction 3 «wait 1 (channel 0)»: "
        "waits on channel 0 for rank 1: expected 1 signals, seen 0"
    ]
    first, second = lines(packets, missing, 0)
    assert re.fullmatch(
        r"rank 0, block 0, at instruction \d «move output\[0\] <- reduce\(.*scratch\[2\]\.packets\), final»: "
        r"waits for packets in the scratch of rank 0: expected 32, seen 0",
        first,
    )
    assert second.startswith("rank 0, block 1, ")


def test_blocks_at_barriers_and_semaphores(driver: Path, tmp_path: Path) -> None:
    job = job_of(plans.blocks(2), 96, DType.INT32, absent=1, timeout_ns=SHORT, launches=1)
    (outcome,) = run(driver, [job], tmp_path)
    assert [entry.waiting for entry in outcome.reports[0]] == [Waiting.SEMAPHORE, Waiting.SEMAPHORE, Waiting.SIGNAL]
    assert "waits for semaphore 0: expected 1, seen 0" in lines(job, outcome, 0)[0]


def lopsided() -> Plan:
    """A custom plan in which two blocks of rank 0 meet after one of them has waited for rank 1."""
    p = PlanBuilder("custom", name="lopsided", ranks=2, input_chunks=1, output_chunks=1)
    first, second = p.ranks
    block, other = first.block(), first.block()
    other.wait([second])
    for each in (block, other):
        each.barrier(0, 2)
    block.copy(first.output[0], first.input[0])
    last = second.block()
    last.signal([first])
    last.copy(second.output[0], second.input[0])
    return p.build()


def test_a_barrier_says_who_is_missing(driver: Path, tmp_path: Path) -> None:
    job = job_of(lopsided(), 10, DType.INT32, absent=1, timeout_ns=SHORT, launches=1)
    (outcome,) = run(driver, [job], tmp_path)
    assert "waits at barrier 0: expected 2 blocks, seen 1" in lines(job, outcome, 0)[0]


def test_an_abort_ends_every_rank(driver: Path, tmp_path: Path) -> None:
    """The host of one rank aborts while all wait for another rank; nobody waits for the deadline."""
    job = job_of(get("all_reduce", "two_phase").build(4), 100, DType.INT32, absent=3, aborted=1, launches=2)
    (outcome,) = run(driver, [job], tmp_path)
    assert {ends(outcome, rank) for rank in (0, 1, 2)} == {(Failure.ABORTED, 1, False)}
    assert outcome.failures == [(Failure.ABORTED, 1, 2)] * 4


def test_ranks_that_call_different_things(driver: Path, tmp_path: Path) -> None:
    """All of them see it, and see what each called; nobody waits for the deadline."""
    names = ("one_phase", "all_pairs_ll", "ring", "two_phase")
    jobs = [job_of(get("all_reduce", name).build(3), 100, DType.INT32, different={1: 99}, disagree=2) for name in names]
    mapped = get("all_reduce", "two_phase_mapped").build(3)
    jobs.append(job_of(jobs[0].plan, 100, DType.INT32, mapped=mapped, different={0: 8}, disagree=2))
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        said = [job.different.get(rank, 100) for rank in range(3)]
        for rank in range(3):
            assert [(s.failure, s.mismatch) for s in outcome.statuses[rank]] == [(Failure.NONE, True)] * 2
            assert [call and call[4] for call in outcome.calls[rank]] == said


def test_a_group_goes_on_after_ranks_have_disagreed(driver: Path, tmp_path: Path) -> None:
    """Whatever blocks had counted when they gave up, the next launch begins anew."""
    makers = (plans.blocks, plans.packets, get("all_reduce", "ring").build, get("all_reduce", "two_phase").build)
    jobs = [
        job_of(make(3), 120, DType.INT32, different={2: 5}, disagree=2, launches=5, seed=seed)
        for seed in range(4)
        for make in makers
    ]
    jobs += [job_of(shared_channels(), 96, DType.INT32, different={0: 1}, disagree=1, seed=s) for s in range(4)]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path), strict=True):
        for rank, expected in enumerate(job.expected()):
            said = [(s.failure, s.mismatch) for s in outcome.statuses[rank]]
            assert said == [(Failure.NONE, number < job.disagree) for number in range(job.launches)]
            for output in outcome.outputs[rank][job.disagree :]:
                assert output.tobytes() == expected.tobytes()
