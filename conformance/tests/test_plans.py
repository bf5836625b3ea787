"""The plans of the suite are right themselves: valid, and proven for every schedule."""

from __future__ import annotations

import random

import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal.plan import Plan, validate
from hal.plan.collective import Collective
from hal.plan.proven import prove
from hal.reference import run
from hal_conformance import chance, data, litmus, programs, switches
from hal_conformance.idle import idle_plan


def assert_right(plan: Plan) -> None:
    validate(plan)
    prove(plan)


@pytest.mark.parametrize("name", litmus.EVERY)
def test_litmus_plans(name: str) -> None:
    assert_right(litmus.EVERY[name]())


@pytest.mark.parametrize("kind", programs.KINDS)
@pytest.mark.parametrize("collective", [*programs.COLLECTIVES, Collective.SEND_RECV], ids=lambda one: one.label)
def test_collective_plans(collective: Collective, kind: str) -> None:
    for size in (2,) if collective is Collective.SEND_RECV else (1, 3):
        root = size - 1 if collective.rooted else 0
        assert_right(programs.collective_plan(collective, kind, size, root))


def test_switch_plans() -> None:
    assert_right(switches.stores(5, [(0, 1), (3, 2)]))
    assert_right(switches.loads(5, [(0, 1), (3, 2)], ReduceOp.MAX))
    assert_right(switches.all_reduce(3))


@pytest.mark.parametrize("seed", range(30))
def test_plans_by_chance(seed: int) -> None:
    assert_right(chance.random_plan(random.Random(seed), 1 + seed % 4, DType.INT32))


def test_plans_by_chance_use_every_kind_of_operand() -> None:
    texts = [repr(chance.random_plan(random.Random(seed), 3, DType.INT32)) for seed in range(20)]
    for word in ("Post(", "Barrier(", "packet=True", "peer=", "Flush(", "Signal(", "op=<ReduceOp.BXOR"):
        assert any(word in text for text in texts), word


@pytest.mark.parametrize("collective", programs.COLLECTIVES, ids=lambda one: one.label)
def test_what_is_expected_of_a_collective_is_what_the_reference_does(collective: Collective) -> None:
    size, count, root = 3, 20, 1
    for dtype, op in ((DType.INT8, ReduceOp.PROD), (DType.FLOAT16, ReduceOp.SUM), (DType.FLOAT8_E5M2, ReduceOp.MIN)):
        longest = max(collective.blocks(size, rank, root)[0] for rank in range(size))
        inputs = data.numbers(random.Random(1), size, longest * count, dtype, op)
        wanted = data.expected(collective, inputs, dtype, op, root)
        mine = [x[: collective.blocks(size, rank, root)[0] * count] for rank, x in enumerate(inputs)]
        plan = programs.collective_plan(collective, "scratch", size, root if collective.rooted else 0)
        found = run(plan, mine, op=op, count=count).outputs
        for a, b in zip(found, wanted, strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", list(DType), ids=lambda dtype: dtype.label)
def test_reductions_of_the_data_are_exact(dtype: DType) -> None:
    for op in data.OPS[dtype]:
        inputs = data.numbers(random.Random(2), 8, 200, dtype, op)
        assert len({array.tobytes() for array in inputs}) == 8
        if op is not ReduceOp.AVG:
            plan = programs.collective_plan(Collective.ALL_REDUCE, "scratch", 8)
            assert run(plan, inputs, op=op).outputs[0].tobytes() == data.reduced(inputs, dtype, op).tobytes()
        else:
            plan = programs.collective_plan(Collective.ALL_REDUCE, "scratch", 8)
            assert run(plan, inputs, op=op).outputs[0].tobytes() == data.averaged(inputs, dtype).tobytes()


def test_a_plan_that_does_nothing_takes_the_place_of_one_that_needs_mapped_memory() -> None:
    mapped = programs.collective_plan(Collective.ALL_REDUCE, "mapped", 2)
    plain = programs.collective_plan(Collective.ALL_REDUCE, "scratch", 2)
    assert idle_plan(plain) is plain
    assert idle_plan(mapped) is idle_plan(mapped)
    validate(idle_plan(mapped))
    assert not any(rank.blocks for rank in idle_plan(mapped).ranks)
