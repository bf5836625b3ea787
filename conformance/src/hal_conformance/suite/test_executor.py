"""Executors: groups and pairs, loading, and what a call may be given."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import PlanError, UsageError
from hal.interface.executor import Membership
from hal.plan.builder import PlanBuilder
from hal.plan.collective import Collective
from hal.plan.model import Channel, ChannelKind, Plan, RankPlan, Wait
from hal.runtime.group import Group
from hal_conformance import data, expect, programs
from hal_conformance.rank import TIMEOUT, Rank

clause = pytest.mark.clause
group = pytest.mark.ranks("group", least=2)
everyone = pytest.mark.ranks("group")
pair = pytest.mark.ranks("pair")


def _all_reduce(rank: Rank, of: Group, count: int = 100, what: str = "") -> None:
    inputs = data.numbers(rank.random, of.size, count, DType.INT32)
    plan = programs.collective_plan(Collective.ALL_REDUCE, "scratch", of.size)
    (seen,) = rank.run(plan, inputs, count=count, group=of)
    expect.same_bits(seen, data.reduced(inputs, DType.INT32, ReduceOp.SUM), f"the sum over a group{what}")


# groups


@clause("HAL-EXE-001", "HAL-EXE-002")
@everyone
def test_a_group(rank: Rank) -> None:
    expect.equal(rank.executor.rank, rank.id, "the rank of the executor")
    expect.equal(rank.executor.size, rank.size, "the size of the executor")
    expect.true(rank.executor.scratch_bytes >= 65536, "bytes of scratch", rank.executor.scratch_bytes, "65536 or more")
    _all_reduce(rank, rank.group)


@clause("HAL-EXE-001")
def test_a_group_of_one_made_by_hand(rank: Rank) -> None:
    executor = rank.device.create_executor(Membership(0, 1, lambda value: [value], (0,)))
    expect.equal((executor.rank, executor.size), (0, 1), "rank and size of a group of one")
    executor.close()


@clause("HAL-EXE-003")
@pytest.mark.ranks("group", least=8)
def test_more_ranks_than_processors(rank: Rank) -> None:
    for turn in range(rank.times(40, 10)):
        _all_reduce(rank, rank.group, what=f", turn {turn}")


@clause("HAL-EXE-004")
@group
def test_groups_side_by_side(rank: Rank) -> None:
    groups = [rank.group, rank.make_group("second"), rank.make_group("third")]
    for turn in range(rank.times(60, 15)):
        chosen = rank.random.randrange(3)
        _all_reduce(rank, groups[chosen], what=f" {chosen} of 3, turn {turn}")
    groups[1].close()
    _all_reduce(rank, groups[2], what=", when another one of the same ranks was closed")


def _teams(rank: Rank) -> dict[str, tuple[int | None, int]]:
    half = rank.size // 2
    return {
        "world": (0, rank.id),
        "reversed": (0, -rank.id),
        "halves": (int(rank.id >= half), rank.id),
        "odd-even": (rank.id % 2, rank.id),
        "odd-even reversed": (rank.id % 2, -rank.id),
        "all but the first": (None if rank.id == 0 else 0, rank.id),
    }


@clause("HAL-EXE-005")
@group
@pytest.mark.parametrize("team", ["world", "reversed", "halves", "odd-even", "odd-even reversed", "all but the first"])
def test_teams(rank: Rank, team: str) -> None:
    color, key = _teams(rank)[team]
    part = rank.split(color, key)
    if part is None:
        expect.equal(team, "all but the first", "the team that this rank is not in")
        return
    ordered = sorted(part.members, reverse="reversed" in team)
    expect.equal(list(part.members), ordered, f"the members of {team}, in their order")
    expect.equal(part.members[part.rank], rank.id, "the member that this rank is")
    plan = programs.collective_plan(Collective.ALL_GATHER, "scratch", part.size)
    inputs = [np.arange(50, dtype=np.int32) * 3 + 1000 * member for member in part.members]
    (seen,) = rank.run(plan, inputs, count=50, group=part)
    expect.same_bits(seen, np.concatenate(inputs), f"what the members of {team} have gathered")


@clause("HAL-EXE-006", "HAL-COL-010")
@pytest.mark.ranks("group", least=2)
def test_messages_between_pairs(rank: Rank) -> None:
    """A message goes round the ring, on the executors of pairs alone."""
    after, before = (rank.id + 1) % rank.size, (rank.id - 1) % rank.size
    plan = programs.collective_plan(Collective.SEND_RECV, "scratch", 2)
    out, into = rank.executor.pair(rank.id, after), rank.executor.pair(before, rank.id)
    expect.equal((out.rank, out.size), (0, 2), "rank and size of the sender's executor")
    expect.equal((into.rank, into.size), (1, 2), "rank and size of the receiver's executor")
    for turn in range(rank.times(50, 10)):
        for count in (1, 100, 5000):
            message = data.numbers(rank.random, 1, count, DType.INT64)[0]
            held = rank.to_device(message if rank.id == 0 else np.zeros(count, np.int64))
            send = rank.group.load(plan, count, DType.INT64, executor=out)
            receive = rank.group.load(plan, count, DType.INT64, executor=into)
            if rank.id == 0:
                rank.start(send, held, None)
                rank.device.fill(held.address, 0, held.nbytes)
                rank.start(receive, None, held)
            else:
                rank.start(receive, None, held)
                rank.start(send, held, None)
            seen = rank.from_device(held, count, DType.INT64)
            expect.same_bits(seen, message, f"a message of {count} elements that goes round, turn {turn}")
            rank.device.free(held)


@clause("HAL-EXE-006")
@group
def test_a_pair_goes_on_while_the_others_are_elsewhere(rank: Rank) -> None:
    if rank.id < 2:
        executor = rank.executor.pair(0, 1)
        plan = programs.collective_plan(Collective.SEND_RECV, "scratch", 2)
        executable = rank.group.load(plan, 10, DType.INT32, executor=executor)
        held = rank.to_device(np.arange(10, dtype=np.int32) * (1 - rank.id))
        for _ in range(20):
            rank.start(executable, *((held, None) if rank.id == 0 else (None, held)))
        expect.same_bits(rank.from_device(held, 10, DType.INT32), np.arange(10, dtype=np.int32), "the message")
    _all_reduce(rank, rank.group, what=" after messages between two of its ranks")


@clause("HAL-EXE-007")
@group
def test_pairs_that_there_are_not(rank: Rank) -> None:
    wrong = [(rank.id, rank.id), (rank.id, rank.size), (-1, rank.id), (rank.id, -1)]
    if rank.size > 2:
        wrong.append((rank.others[0], rank.others[1]))
    for sender, receiver in wrong:
        expect.raises(
            UsageError, partial(rank.executor.pair, sender, receiver), f"the pair from {sender} to {receiver}"
        )
    _all_reduce(rank, rank.group, what=" after pairs that were refused")


@clause("HAL-EXE-008")
@everyone
def test_closing(rank: Rank) -> None:
    plan = programs.collective_plan(Collective.ALL_REDUCE, "scratch", rank.size)
    executable = rank.load(plan, 10, DType.INT32)
    a, b = rank.allocate(40), rank.allocate(40)
    rank.start(executable, a, b)
    rank.exchange()
    rank.executor.close()
    rank.executor.close()
    expect.raises(UsageError, lambda: rank.start(executable, a, b), "a call after close")


# loading


@clause("HAL-EXE-009")
@group
def test_loading_needs_nobody(rank: Rank) -> None:
    plans = [programs.collective_plan(Collective.ALL_REDUCE, kind, rank.size) for kind in ("scratch", "packets")]
    rank.executor  # noqa: B018 -- making the group needs all
    if rank.id == 0:
        for _ in range(5):
            rank.load(plans[1], 500, DType.FLOAT64)
    rank.exchange()  # the others have loaded nothing yet
    for plan in plans if rank.id % 2 else plans[::-1]:
        rank.load(plan, 100, DType.INT32)
    inputs = data.numbers(rank.random, rank.size, 100, DType.INT32)
    for plan in plans:
        (seen,) = rank.run(plan, inputs, count=100)
        expect.same_bits(seen, data.reduced(inputs, DType.INT32, ReduceOp.SUM), f"the result of {plan.name}")


@clause("HAL-EXE-010")
@everyone
def test_plans_that_do_not_fit(rank: Rank) -> None:
    other = programs.collective_plan(Collective.ALL_REDUCE, "scratch", rank.size + 1)
    expect.raises(PlanError, lambda: rank.load(other, 10), "a plan of another number of ranks")
    endless = Plan("endless", "custom", tuple(RankPlan(1, 1, 0, ((Wait((0,)),),)) for _ in range(rank.size)))
    expect.raises(PlanError, lambda: rank.load(endless, 10), "a plan that names a channel it has not")
    lonely = (RankPlan(1, 1, 0, ((),), (Channel(ChannelKind.MEMORY, (rank.size,)),)),) * rank.size
    expect.raises(PlanError, lambda: rank.load(Plan("lonely", "custom", lonely), 10), "a channel to a rank that is not")
    _all_reduce(rank, rank.group, what=" after plans that were refused")


@clause("HAL-EXE-011")
@everyone
def test_more_scratch_than_there_is(rank: Rank) -> None:
    plan = programs.collective_plan(Collective.ALL_REDUCE, "scratch", rank.size)
    most = rank.executor.scratch_bytes
    expect.raises(PlanError, lambda: rank.load(plan, most + 1), "a plan that needs a byte too much")
    inputs = data.numbers(rank.random, rank.size, most // 128 * 128, DType.UINT8)
    (seen,) = rank.run(plan, inputs, count=most // 128 * 128)
    wanted = np.sum(inputs, axis=0, dtype=np.uint8).reshape(-1)
    expect.same_bits(seen, wanted, "the result of a plan that needs all of it")


def _marked(size: int, mapped: bool) -> Plan:
    """Leaves in the output the input of the next rank (mapped) or the own one."""
    p = PlanBuilder("custom", name=f"marked_{mapped}", ranks=size, input_chunks=1, output_chunks=1, in_place=False)
    for rank in p.ranks:
        block = rank.block()
        block.signal(rank.others)
        block.wait(rank.others)
        block.copy(rank.output[0], (p.ranks[(rank.id + 1) % size] if mapped else rank).input[0])
        block.signal(rank.others)
        block.wait(rank.others)
    return p.build()


@clause("HAL-EXE-012")
@group
def test_the_program_for_mapped_buffers(rank: Rank) -> None:
    executable = rank.group.load(_marked(rank.size, False), 64, DType.UINT8, mapped=_marked(rank.size, True))
    for turn in range(rank.times(60, 12)):
        plain = rank.random.choice([None, *range(rank.size)])
        values = [rank.random.randrange(256) for _ in range(rank.size)]
        mine = np.full(64, values[rank.id], np.uint8)
        target = rank.allocate(64)
        held = rank.to_device(mine)
        address = int(mine.ctypes.data) if plain == rank.id and _reads_host_memory(rank) else held.address
        if plain is not None and not _reads_host_memory(rank):
            plain = None
        executable.run(address, 64, target.address, 64, TIMEOUT)
        wanted = values[rank.id] if plain is not None else values[(rank.id + 1) % rank.size]
        which = "mapped everywhere" if plain is None else f"not mapped on rank {plain}"
        expect.equal(rank.read(target), bytes([wanted]) * 64, f"the output where the input is {which}, turn {turn}")


def _reads_host_memory(rank: Rank) -> bool:
    """Whether ordinary memory can be a buffer: where the device's memory is the CPU's."""
    from hal.interface.capability import Capability

    return Capability.HOST_MAPPED in rank.capabilities


# calling


@clause("HAL-EXE-024")
@group
def test_ranks_come_at_any_time(rank: Rank) -> None:
    for turn in range(rank.times(12, 4)):
        late = rank.random.randrange(rank.size)
        if rank.id == late:
            time.sleep(0.02 * (1 + turn % 4))
        _all_reduce(rank, rank.group, what=f" to which rank {late} comes late")


def _first_of_two(size: int, mapped: bool) -> Plan:
    """Copies the input, of two chunks, to the output; of the next rank's (mapped) the first chunk alone."""
    p = PlanBuilder("custom", name=f"first_{mapped}", ranks=size, input_chunks=2, output_chunks=2, in_place=False)
    for rank in p.ranks:
        block = rank.block()
        block.signal(rank.others)
        block.wait(rank.others)
        for number in range(1 if mapped else 2):
            block.copy(rank.output[number], (p.ranks[(rank.id + 1) % size] if mapped else rank).input[number])
        block.signal(rank.others)
        block.wait(rank.others)
    return p.build()


@clause("HAL-EXE-025")
@group
def test_buffers_are_as_long_as_either_program_needs(rank: Rank) -> None:
    plans = [_first_of_two(rank.size, mapped) for mapped in (False, True)]
    executable = rank.group.load(plans[0], 64, DType.UINT8, mapped=plans[1])
    a, b = rank.allocate(128), rank.allocate(128)
    for what, lengths in (("an input", (64, 128)), ("an output", (128, 64))):
        run = partial(executable.run, a.address, lengths[0], b.address, lengths[1], TIMEOUT)
        expect.raises(UsageError, run, f"{what} of one chunk, where the program for other buffers needs two")
        rank.exchange()
    executable.run(a.address, 128, b.address, 128, TIMEOUT)


@clause("HAL-EXE-025", "HAL-EXE-026", "HAL-CAP-007")
@everyone
def test_arguments_that_cannot_be_used(rank: Rank) -> None:
    plan = programs.collective_plan(Collective.ALL_REDUCE, "scratch", rank.size)
    executable = rank.load(plan, 100, DType.INT32)
    a, b = rank.allocate(400), rank.allocate(400)
    wrong = {
        "a short input": lambda: executable.run(a.address, 396, b.address, 400, TIMEOUT),
        "a short output": lambda: executable.run(a.address, 400, b.address, 399, TIMEOUT),
        "no input": lambda: executable.run(0, 0, b.address, 400, TIMEOUT),
        "a timeout of 0": lambda: executable.run(a.address, 400, b.address, 400, 0.0),
        "a timeout below 0": lambda: executable.run(a.address, 400, b.address, 400, -1.0),
    }
    for what, call in wrong.items():
        error = expect.raises(UsageError, call, what)
        expect.equal(error.rank, rank.id, f"the rank that the error of {what} carries")
        rank.exchange()
    _all_reduce(rank, rank.group, what=" after arguments that were refused")
