"""Faults: late, dead and disagreeing ranks, abort, and what is left behind."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hal.interface.device import Memory
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import PeerFailure, StallTimeout, UsageError
from hal.plan.builder import PlanBuilder
from hal.plan.collective import Collective
from hal.plan.model import Plan
from hal.runtime.group import Group
from hal_conformance import data, expect, programs
from hal_conformance.calling import LONG, caller, refuses, until_it_fails, works
from hal_conformance.expect import Resource
from hal_conformance.rank import Rank

clause = pytest.mark.clause
group = pytest.mark.ranks("group", least=2)
processes = pytest.mark.ranks("group", least=2, forms=("processes",))

SHORT = 0.5
SOON = 5.0
KINDS = ("scratch", "mapped", "packets", "posted", "pieces", "barrier")
each_kind = pytest.mark.parametrize("kind", KINDS)


@clause("HAL-FLT-001", "HAL-FLT-002", "HAL-FLT-003", "HAL-FLT-004", "HAL-CAP-007")
@group
@each_kind
def test_a_late_rank(rank: Rank, kind: str) -> str:
    call = caller(rank, kind)
    call(LONG)
    late = rank.size - 1
    rank.exchange()
    if rank.id == late:
        rank.exchange()  # comes when the others have failed
        error = expect.raises(StallTimeout, lambda: call(SHORT), "the call of the late rank")
    else:
        began = time.monotonic()
        error = expect.raises(StallTimeout, lambda: call(SHORT), "the call that waits for a late rank")
        taken = time.monotonic() - began
        # the others' deadlines pass at about the same time, and the first that passes ends the call for all
        expect.true(taken >= 0.5 * SHORT, "seconds until the deadline", taken, f"{SHORT} or nearly so")
        expect.true(f"rank {late}" in error.message, "the message names the late rank", error.message)
        rank.exchange()
    expect.equal(error.rank, rank.id, "the rank that the error carries")
    refuses(call, "a call after the stall")
    return type(error).__name__


def _interrupted(size: int) -> Plan:
    """Some blocks of a rank can do all they have to, others wait for the last rank in the middle of theirs."""
    p = PlanBuilder("custom", name="interrupted", ranks=size, input_chunks=1, output_chunks=1, in_place=False)
    last = p.ranks[-1]
    for rank in p.ranks:
        done, waiting = rank.block(), rank.block()
        done.copy(rank.scratch[0], rank.input[0])
        done.sync()
        done.copy(rank.output[0], rank.scratch[0])
        waiting.copy(rank.scratch[1], rank.input[0])
        if rank is last:
            waiting.signal(rank.others)
        else:
            waiting.wait([last])
        waiting.copy(rank.scratch[2], rank.input[0])
    return p.build()


@clause("HAL-FLT-016", "HAL-FLT-001")
@group
def test_a_failure_in_the_middle_of_a_plan(rank: Rank) -> None:
    executable = rank.load(_interrupted(rank.size), 500)
    a, b = rank.allocate(500), rank.allocate(500)

    def call(timeout: float) -> None:
        rank.start(executable, a, b, timeout)

    call(LONG)
    if rank.id != rank.size - 1:
        expect.raises(StallTimeout, lambda: call(SHORT), "a call that waits in the middle")
    rank.exchange()
    refuses(call, "a call after it")


@clause("HAL-FLT-005", "HAL-FLT-004", "HAL-FLT-016", "HAL-CAP-007")
@processes
@each_kind
def test_a_rank_that_dies(rank: Rank, kind: str) -> None:
    call = caller(rank, kind)
    call(LONG)
    victim = rank.size - 1
    if rank.id == victim:
        time.sleep(0.02)
        rank.die()
    error = until_it_fails(call)
    expect.true(isinstance(error, PeerFailure), "the error after a rank has died", repr(error), "PeerFailure")
    expect.equal(error.peer, victim, "the peer that the error carries")
    expect.equal(error.rank, rank.id, "the rank that the error carries")
    refuses(call, "a call after a rank has died")


@clause("HAL-FLT-006")
@processes
def test_a_death_is_noticed_soon(rank: Rank) -> None:
    call = caller(rank, "barrier")
    call(LONG)
    if rank.id == 0:
        rank.die()
    began = time.monotonic()
    expect.raises(PeerFailure, lambda: call(LONG), "a call that waits for a dead rank")
    expect.at_most(time.monotonic() - began, SOON, "seconds until a death is noticed")


@clause("HAL-FLT-007")
@group
def test_a_rank_that_leaves(rank: Rank) -> None:
    call = caller(rank, "scratch")
    call(LONG)
    if rank.id == 0:
        rank.executor.close()
    else:
        error = until_it_fails(call)
        expect.true(isinstance(error, PeerFailure), "the error after a rank has left", repr(error), "PeerFailure")
        expect.equal(error.peer, 0, "the peer that the error carries")
    rank.exchange()


@clause("HAL-FLT-008", "HAL-FLT-004", "HAL-FLT-015")
@group
@each_kind
def test_abort(rank: Rank, kind: str) -> None:
    call = caller(rank, kind)
    call(LONG)
    rank.exchange()
    if rank.id == rank.size - 1:
        thread = threading.Timer(0.1, rank.group.abort)
        thread.start()
        thread.join(LONG)
    began = time.monotonic()
    error = expect.raises(PeerFailure, lambda: call(LONG), "a call of a group that is aborted")
    expect.at_most(time.monotonic() - began, LONG / 2, "seconds until the abort ends a call")
    expect.equal(error.peer, rank.size - 1, "the peer that the error carries")
    refuses(call, "a call after the abort")
    rank.group.abort()
    rank.exchange()
    rank.group.close()
    rank.group.abort()


@clause("HAL-CAP-007")
@group
def test_errors_carry_ranks_of_the_job(rank: Rank) -> None:
    part = rank.split(0, -rank.id)
    assert part is not None
    call = caller(rank, "scratch", part)
    call(LONG)
    executable = rank.load(programs.collective_plan(Collective.ALL_REDUCE, "scratch", rank.size), 10, group=part)
    error = expect.raises(UsageError, lambda: executable.run(0, 0, 0, 0, LONG), "a call without buffers")
    expect.equal(error.rank, rank.id, "the rank that an error of the call carries, in a group of the opposite order")
    rank.exchange()
    if rank.id == 0:
        part.abort()
    failure = expect.raises(PeerFailure, lambda: call(LONG), "a call of a group that is aborted")
    expect.equal(failure.rank, rank.id, "the rank that the failure carries")
    expect.equal(failure.peer, 0, "the peer that the failure carries")
    rank.exchange()


@clause("HAL-FLT-017")
@group
@pytest.mark.parametrize("first", ["pair", "group"])
def test_a_group_and_its_pairs_fail_together(rank: Rank, first: str) -> None:
    plan = programs.collective_plan(Collective.SEND_RECV, "scratch", 2)
    held = rank.to_device(np.arange(10, dtype=np.int32))

    def message(sender: int, receiver: int) -> Callable[[float], None]:
        executable = rank.group.load(plan, 10, DType.INT32, executor=rank.executor.pair(sender, receiver))
        source, target = (held, None) if rank.id == sender else (None, held)
        return lambda timeout: rank.start(executable, source, target, timeout)

    call = caller(rank, "scratch")
    call(LONG)
    pairs = [message(0, 1), message(1, 0)] if rank.id < 2 else []
    for pair in pairs:
        pair(LONG)
    rank.exchange()
    if first == "group" and rank.id == rank.size - 1:
        rank.group.abort()
    elif first == "pair" and rank.id == 0:
        expect.raises(StallTimeout, lambda: pairs[0](SHORT), "a message to nobody")
    rank.exchange()
    refuses(call, f"a call of the group after its {first} has failed")
    for pair in pairs:
        refuses(pair, f"a message between two of its ranks after the {first} has failed")


def _disagreeing(rank: Rank) -> dict[str, Callable[[], None]]:
    plan = programs.collective_plan(Collective.ALL_REDUCE, "scratch", rank.size)
    other = programs.collective_plan(Collective.ALL_REDUCE, "packets", rank.size)
    a, b = rank.allocate(8000), rank.allocate(8000)
    odd = rank.id == rank.size - 1

    def run(plan: Plan, count: int, dtype: DType, op: ReduceOp) -> None:
        length = count * dtype.itemsize
        executable = rank.load(plan, count, dtype, op)
        device = rank.device
        rank.start(executable, Memory(a.address, length, device), Memory(b.address, length, device))

    rooted = [programs.collective_plan(Collective.BROADCAST, "scratch", rank.size, root) for root in range(2)]
    return {
        "counts": lambda: run(plan, 101 if odd else 100, DType.INT32, ReduceOp.SUM),
        "types": lambda: run(plan, 100, DType.FLOAT32 if odd else DType.INT32, ReduceOp.SUM),
        "operations": lambda: run(plan, 100, DType.INT32, ReduceOp.MAX if odd else ReduceOp.SUM),
        "plans": lambda: run(other if odd else plan, 100, DType.INT32, ReduceOp.SUM),
        "roots": lambda: run(rooted[odd], 100, DType.INT32, ReduceOp.SUM),
    }


@clause("HAL-FLT-009")
@group
@pytest.mark.parametrize("what", ["counts", "types", "operations", "plans", "roots"])
def test_ranks_that_disagree(rank: Rank, what: str) -> None:
    call = _disagreeing(rank)[what]
    for turn in range(3):
        error = expect.raises(UsageError, call, f"a call with different {what}")
        expect.equal(error.rank, rank.id, "the rank that the error carries")
        works(rank, rank.group, f"the result after a call with different {what}, turn {turn}")


@clause("HAL-FLT-010", "HAL-FLT-011")
@group
@pytest.mark.parametrize("how", ["stall", "abort"])
def test_other_groups_go_on(rank: Rank, how: str) -> None:
    second = rank.make_group("second")
    call = caller(rank, "scratch")
    works(rank, second, "the second group before the failure of the first")
    if how == "abort" and rank.id == 0:
        rank.group.abort()
    elif how == "stall" and rank.id != 0:
        expect.raises(StallTimeout, lambda: call(SHORT), "a call that nobody else makes")
    rank.exchange()
    refuses(call, "a call of the first group after its failure")
    works(rank, second, "the second group after the failure of the first")
    works(rank, rank.make_group("third"), "a group made after the failure of the first")


@clause("HAL-FLT-011", "HAL-FLT-005")
@pytest.mark.ranks("group", least=3, forms=("processes",))
def test_the_survivors_make_a_group(rank: Rank) -> None:
    call = caller(rank, "barrier")
    call(LONG)
    if rank.id == 1:
        rank.die()
    expect.raises(PeerFailure, lambda: call(LONG), "a call that waits for a dead rank")
    members = tuple(one for one in range(rank.size) if one != 1)
    survivors = Group(rank.device, rank.store, members, name="survivors", timeout=LONG, verify=False)
    works(rank, survivors, "a group of those that are left")
    survivors.close()


@clause("HAL-FLT-013")
@group
def test_memory_of_groups_comes_back(rank: Rank) -> None:
    scratch, free = 0, 0
    turns = rank.times(150, 40)
    for turn in range(turns):
        made = rank.make_group(f"made-{turn}", keep=False)
        works(rank, made, f"group {turn}")
        scratch = made.executor.scratch_bytes
        rank.exchange()
        made.close()
        rank.exchange()
        if turn == 2:  # what is made once for all groups is there by now
            free = _largest(rank)
    # that of the last few groups may still be held, with something for each rank, until the others have left them
    lost = free - _largest(rank)
    expect.at_most(lost, (turns - 3) * scratch // 2, f"bytes that cannot be allocated after {turns - 3} groups more")


def _largest(rank: Rank) -> int:
    """Bytes of the largest piece of memory that can be allocated, but for a mebibyte."""
    enough, too_much = 0, rank.device.properties.memory + 1
    while too_much - enough > 1 << 20:
        nbytes = (enough + too_much) // 2
        try:
            rank.device.free(rank.device.allocate(nbytes))
            enough = nbytes
        except UsageError:
            too_much = nbytes
    return enough


@clause("HAL-FLT-012")
@pytest.mark.ranks("group", least=2, forms=("processes",))
def test_no_descriptor_and_no_thread_is_left(rank: Rank) -> None:
    if not Path("/proc/self/fd").is_dir():
        raise Resource("this system does not list the descriptors of a process")

    def once(name: str) -> tuple[int, int]:
        made = rank.make_group(name, keep=False)
        works(rank, made, name)
        rank.exchange()
        made.close()
        rank.exchange()
        del made
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    for warm in range(3):  # what is made once, and what goes when the others have left too
        before = once(f"warm-{warm}")
    after = before
    for turn in range(40):
        after = once(f"again-{turn}")
    # the last two may still be held, with something for each rank, until the others have left them as well
    expect.at_most(after[0], before[0] + 2 * rank.size + 2, "open file descriptors after forty groups more")
    expect.at_most(after[1], before[1], "threads after forty groups more")


@clause("HAL-FLT-014")
@group
def test_a_rank_that_is_done_may_leave(rank: Rank) -> None:
    for turn in range(rank.times(60, 15)):
        made = rank.make_group(f"made-{turn}")
        inputs = data.numbers(rank.random, rank.size, 2000, DType.INT32)
        plan = programs.collective_plan(Collective.ALL_REDUCE, ("scratch", "packets", "pieces")[turn % 3], rank.size)
        rank.delay()
        (seen,) = rank.run(plan, inputs, count=2000, group=made)
        made.close()  # at once, whoever is still at it
        expect.same_bits(seen, data.reduced(inputs, DType.INT32, ReduceOp.SUM), f"the result of group {turn}")


def _little_to_do(size: int) -> Plan:
    """The first rank signals, and is done; the others go on for a good while, and wait for each other at the end."""
    p = PlanBuilder("custom", name="little_to_do", ranks=size, input_chunks=1, output_chunks=1, in_place=False)
    for rank in p.ranks:
        block = rank.block()
        if rank.id == 0:
            block.copy(rank.output[0], rank.input[0])
            block.signal(rank.others)
            continue
        block.wait([p.ranks[0]])
        for _ in range(500 * rank.id):
            block.copy(rank.scratch[0], rank.input[0])
            block.sync()
        rest = [other for other in rank.others if other.id]
        if rest:
            block.signal(rest)
            block.wait(rest)
        block.copy(rank.output[0], rank.scratch[0])
    return p.build()


@clause("HAL-FLT-014")
@group
def test_a_rank_that_has_little_to_do_may_leave(rank: Rank) -> None:
    for turn in range(rank.times(10, 3)):
        made = rank.make_group(f"made-{turn}")
        inputs = [data.random_bytes(rank.random, 60_000) for _ in range(rank.size)]
        (seen,) = rank.run(_little_to_do(rank.size), inputs, count=60_000, group=made)
        made.close()
        expect.same_bits(seen, inputs[rank.id], "what was copied many times")


@clause("HAL-FLT-014")
@pytest.mark.ranks("group", least=2, forms=("processes",))
def test_a_rank_that_is_done_may_end(rank: Rank) -> None:
    inputs = data.numbers(rank.random, rank.size, 2000, DType.INT32)
    plan = programs.collective_plan(Collective.ALL_REDUCE, "scratch", rank.size)
    (seen,) = rank.run(plan, inputs, count=2000)
    if rank.id == 0:
        rank.die()
    expect.same_bits(seen, data.reduced(inputs, DType.INT32, ReduceOp.SUM), "the result of the others")
