"""The native executor and the reference interpreter agree bit for bit on the same plan; a NaN equals every other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from numpy.typing import NDArray

import hal.reference
from hal.interface.dtypes import DType, ReduceOp
from hal.plan.collective import Collective
from hal.plan.model import Plan
from hal_collectives.algorithms import Algorithm, provide

from . import plans
from .groups import Ranks, host_ranks
from .oracle import difference, pool

Array = NDArray[Any]
WRITTEN = [plans.packets, plans.packet_relay, plans.pipeline, plans.blocks, plans.ports, plans.several_results]
REDUCTIONS = [a for a in provide() if Collective.of(a.collective).reduces]
MOVEMENTS = [a for a in provide() if not Collective.of(a.collective).reduces and a.collective != "barrier"]
COUNTS = [0, 1, 17, 1003]


@pytest.fixture(scope="module", params=[2, 3, 5])
def ranks(request: pytest.FixtureRequest) -> Iterator[Ranks]:
    with host_ranks(request.param, host__scratch_size="32M") as made:
        yield made


def inputs_of(plan: Plan, count: int, dtype: DType) -> list[Array]:
    """Values of every kind, cut elsewhere from the pool for every count."""
    return [
        pool(dtype, number, True)[count : count + part.input_chunks // plan.split * count]
        for number, part in enumerate(plan.ranks)
    ]


def compare(
    ranks: Ranks, plan: Plan, dtype: DType, op: ReduceOp, count: int, *, instead: Plan | None = None, launches: int = 1
) -> None:
    """Compare the executors on `plan`, which the native one runs where `instead` could be run too."""
    inputs = inputs_of(plan, count, dtype)
    wanted = hal.reference.run(plan, inputs, op=op, count=count).outputs
    any_plan, mapped = (plan, None) if instead is None else (instead, plan)
    got = ranks.run(any_plan, inputs, op, count=count, mapped=mapped, launches=launches)
    for number, output in enumerate(got):
        problem = difference(output, wanted[number % plan.size], dtype)
        where = f"launch {number // plan.size}, rank {number % plan.size} of {plan.size}"
        assert problem is None, f"{plan.name}, {dtype.label} {op.label} of {count}, {where}: {problem}"


def ops_of(dtype: DType) -> list[ReduceOp]:
    return [op for op in ReduceOp if not (op.is_bitwise and dtype.is_float)]


@pytest.mark.parametrize("make", WRITTEN, ids=lambda f: f.__name__)
def test_plans_of_every_instruction(ranks: Ranks, make: Callable[[int], Plan]) -> None:
    plan = make(len(ranks.groups))
    for dtype in DType:
        for op in [ReduceOp.SUM, ReduceOp.AVG]:
            compare(ranks, plan, dtype, op, 301, launches=2)
    for count in COUNTS:
        compare(ranks, plan, DType.BFLOAT16, ReduceOp.SUM, count, launches=3)


@pytest.mark.exhaustive
@pytest.mark.parametrize("make", WRITTEN, ids=lambda f: f.__name__)
def test_plans_of_every_instruction_in_every_type(ranks: Ranks, make: Callable[[int], Plan]) -> None:
    plan = make(len(ranks.groups))
    for dtype in DType:
        for op in ops_of(dtype):
            for count in COUNTS:
                compare(ranks, plan, dtype, op, count, launches=3)


def named(algorithm: Algorithm) -> str:
    return f"{algorithm.collective}-{algorithm.name}"


def run_algorithm(ranks: Ranks, algorithm: Algorithm, dtypes: list[DType], counts: list[int]) -> None:
    size = len(ranks.groups)
    if not algorithm.supports(size):
        return
    root = size // 2 if Collective.of(algorithm.collective).rooted else None
    plan = algorithm.build(size, root)
    instead = None
    if algorithm.mapped:
        others = [a for a in provide() if a.collective == algorithm.collective and not a.mapped]
        instead = others[0].build(size, root)
    for dtype in dtypes:
        for op in ops_of(dtype) if Collective.of(algorithm.collective).reduces else [ReduceOp.SUM]:
            for count in counts:
                compare(ranks, plan, dtype, op, count, instead=instead)


@pytest.mark.parametrize("algorithm", REDUCTIONS, ids=named)
def test_reductions(ranks: Ranks, algorithm: Algorithm) -> None:
    run_algorithm(ranks, algorithm, [DType.UINT8, DType.FLOAT16], [333])


@pytest.mark.parametrize("algorithm", MOVEMENTS, ids=named)
def test_movements(ranks: Ranks, algorithm: Algorithm) -> None:
    run_algorithm(ranks, algorithm, [DType.FLOAT32], [1, 1003])


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.parametrize("algorithm", REDUCTIONS, ids=named)
def test_reductions_in_every_type(ranks: Ranks, algorithm: Algorithm) -> None:
    run_algorithm(ranks, algorithm, list(DType), [1, 1003, 4096, 13_000])
