"""Collectives: plans of every collective in several kinds, for any count, root, team and order of calls."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hal.interface.device import Memory
from hal.interface.dtypes import DType, ReduceOp
from hal.plan.collective import Collective
from hal.plan.model import Plan
from hal.runtime.group import Group
from hal_conformance import data, expect, programs
from hal_conformance.rank import Rank

clause = pytest.mark.clause
everyone = pytest.mark.ranks("group")
group = pytest.mark.ranks("group", least=2)
pair = pytest.mark.ranks("pair")
each_kind = pytest.mark.parametrize("kind", programs.KINDS)

COUNTS = (0, 1, 3, 17, 64, 1000)


def check(
    rank: Rank,
    collective: Collective,
    plan: Plan,
    count: int,
    *,
    dtype: DType = DType.INT32,
    op: ReduceOp = ReduceOp.SUM,
    root: int = 0,
    of: Group | None = None,
    launches: int = 1,
) -> None:
    """Run a collective on new data and compare the output of this rank."""
    where = of or rank.group
    longest = max(collective.blocks(where.size, member, root)[0] for member in range(where.size))
    inputs = data.numbers(rank.random, where.size, longest * count, dtype, op)
    wanted = data.expected(collective, inputs, dtype, op, root)[where.rank]
    mine = [array[: collective.blocks(where.size, member, root)[0] * count] for member, array in enumerate(inputs)]
    what = f"{collective.label} of {count} {dtype.label} ({op.label}, root {root}) by {plan.name}"
    for seen in rank.run(plan, mine, op, count=count, launches=launches, group=of):
        expect.same_bits(seen, wanted, what)


def _all_counts(rank: Rank, collective: Collective, kind: str) -> None:
    for root in range(rank.size) if collective.rooted else (0,):
        plan = programs.collective_plan(collective, kind, rank.size, root)
        for count in COUNTS:
            dtype = rank.random.choice(list(DType))
            op = rank.random.choice([one for one in data.OPS[dtype] if one is not ReduceOp.AVG])
            op = op if collective.reduces else ReduceOp.SUM
            check(rank, collective, plan, count, dtype=dtype, op=op, root=root, launches=2)


@clause("HAL-COL-001", "HAL-COL-012")
@everyone
@each_kind
def test_all_reduce(rank: Rank, kind: str) -> None:
    _all_counts(rank, Collective.ALL_REDUCE, kind)


@clause("HAL-COL-003", "HAL-COL-012")
@everyone
@each_kind
def test_all_gather(rank: Rank, kind: str) -> None:
    _all_counts(rank, Collective.ALL_GATHER, kind)


@clause("HAL-COL-004", "HAL-COL-012")
@everyone
@each_kind
def test_reduce_scatter(rank: Rank, kind: str) -> None:
    _all_counts(rank, Collective.REDUCE_SCATTER, kind)


@clause("HAL-COL-005", "HAL-COL-012")
@everyone
@each_kind
def test_broadcast(rank: Rank, kind: str) -> None:
    _all_counts(rank, Collective.BROADCAST, kind)


@clause("HAL-COL-006", "HAL-COL-012")
@everyone
@each_kind
def test_reduce(rank: Rank, kind: str) -> None:
    _all_counts(rank, Collective.REDUCE, kind)


@clause("HAL-COL-007", "HAL-COL-012")
@everyone
@each_kind
def test_gather(rank: Rank, kind: str) -> None:
    _all_counts(rank, Collective.GATHER, kind)


@clause("HAL-COL-008", "HAL-COL-012")
@everyone
@each_kind
def test_scatter(rank: Rank, kind: str) -> None:
    _all_counts(rank, Collective.SCATTER, kind)


@clause("HAL-COL-009", "HAL-COL-012")
@everyone
@each_kind
def test_all_to_all(rank: Rank, kind: str) -> None:
    _all_counts(rank, Collective.ALL_TO_ALL, kind)


@clause("HAL-COL-002")
@group
@pytest.mark.parametrize("kind", ["scratch", "mapped", "pieces"])
def test_all_ranks_get_the_same_bits(rank: Rank, kind: str) -> None:
    """Numbers whose sum depends on the order; the ranks exchange what they have got."""
    plan = programs.collective_plan(Collective.ALL_REDUCE, kind, rank.size)
    for dtype in (DType.FLOAT16, DType.FLOAT32, DType.FLOAT64):
        generator = np.random.default_rng(rank.random.getrandbits(64))
        inputs = list(generator.normal(size=(rank.size, 1000)).astype(dtype.numpy))
        (seen,) = rank.run(plan, inputs, count=1000)
        for other, bits in enumerate(rank.exchange(seen.tobytes())):
            expect.same_bits(seen, np.frombuffer(bits, dtype.numpy), f"the own result beside that of rank {other}")


@clause("HAL-COL-010")
@pair
@each_kind
def test_send_recv(rank: Rank, kind: str) -> None:
    plan = programs.collective_plan(Collective.SEND_RECV, kind, 2)
    executor = rank.executor.pair(0, 1)
    mapped = plan if kind == "mapped" else None
    given = programs.collective_plan(Collective.SEND_RECV, "scratch", 2) if kind == "mapped" else plan
    for count in COUNTS:
        message = data.random_bytes(rank.random, count)
        held = rank.to_device(message if rank.id == 0 else np.zeros(count, np.uint8))
        executable = rank.group.load(given, count, DType.UINT8, executor=executor, mapped=mapped)
        for _ in range(5):
            rank.start(executable, *((held, None) if rank.id == 0 else (None, held)))
        expect.equal(rank.read(held, count), message.tobytes(), f"a message of {count} bytes by {kind}")


@clause("HAL-COL-011")
@group
def test_nobody_leaves_a_barrier_early(rank: Rank) -> None:
    executable = rank.load(programs.barrier_plan(rank.size), 0)
    own = rank.allocate(64)
    rank.device.fill(own.address, 0, 64)
    handles = rank.exchange(rank.device.export_memory(own))
    memories = [own if one == rank.id else rank.device.import_memory(handle) for one, handle in enumerate(handles)]
    for turn in range(1, rank.times(200, 60)):
        if rank.random.randrange(rank.size) == rank.id:
            time.sleep(0.002)
        rank.device.fill(own.address, turn % 256, 64)
        rank.start(executable, None, None)
        for other, memory in enumerate(memories):
            seen = rank.read(memory, 1)[0]
            entered = seen in (turn % 256, (turn + 1) % 256)  # it may already be on its way to the next one
            expect.true(entered, f"what rank {other} wrote before barrier {turn}", seen, turn % 256)
    rank.start(executable, None, None)


@clause("HAL-COL-013")
@pytest.mark.ranks("group", least=2)
@pytest.mark.parametrize("team", ["halves", "reversed", "odd-even"])
def test_teams(rank: Rank, team: str) -> None:
    color = {"halves": int(rank.id >= rank.size // 2), "reversed": 0, "odd-even": rank.id % 2}[team]
    part = rank.split(color, -rank.id if team == "reversed" else rank.id)
    assert part is not None
    for turn in range(rank.times(30, 8)):
        kind = rank.random.choice(programs.KINDS)
        collective = rank.random.choice(programs.COLLECTIVES)
        count = rank.random.choice(COUNTS)
        seed = rank.random.getrandbits(60)
        kept, rank.random = rank.random, type(rank.random)(f"{seed}/{color}")
        root = rank.random.randrange(part.size)
        plan = programs.collective_plan(collective, kind, part.size, root if collective.rooted else 0)
        check(rank, collective, plan, count, root=root if collective.rooted else 0, of=part)
        rank.random = kept
        if turn % 4 == 0:
            plan = programs.collective_plan(Collective.ALL_REDUCE, kind, rank.size)
            check(rank, Collective.ALL_REDUCE, plan, count)


@clause("HAL-COL-014")
@everyone
@pytest.mark.limit(180)
def test_any_order(rank: Rank) -> None:
    for _ in range(rank.times(300, 60)):
        collective = rank.random.choice(programs.COLLECTIVES)
        root = rank.random.randrange(rank.size) if collective.rooted else 0
        plan = programs.collective_plan(collective, rank.random.choice(programs.KINDS), rank.size, root)
        dtype = rank.random.choice([DType.INT8, DType.FLOAT16, DType.FLOAT32, DType.INT64])
        rank.delay()
        check(rank, collective, plan, rank.random.choice(COUNTS), dtype=dtype, root=root)


@clause("HAL-COL-001", "HAL-COL-014")
@group
def test_a_call_made_very_often(rank: Rank) -> None:
    plan = programs.collective_plan(Collective.ALL_REDUCE, "scratch", rank.size)
    executable = rank.load(plan, 16, DType.INT64)
    source, target = rank.allocate(128), rank.allocate(128)
    for turn in range(rank.times(5000, 1000)):
        rank.write(source, np.arange(16, dtype=np.int64) * (rank.id + 1) + turn)
        rank.start(executable, source, Memory(target.address, 128, rank.device))
        factor = rank.size * (rank.size + 1) // 2
        wanted = np.arange(16, dtype=np.int64) * factor + rank.size * turn
        expect.same_bits(rank.from_device(target, 16, DType.INT64), wanted, f"the sum of call {turn}")
