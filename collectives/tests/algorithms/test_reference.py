"""Every algorithm on the reference interpreter: other element types and reductions, moves cut into random pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hal.plan.collective import Collective
from hal.plan.layout import Layout
from hal.plan.model import Plan
from hal.reference import run
from hal_collectives.algorithms import Algorithm

from .oracle import Array, Combine, expected, variable_layout
from .test_results import ALL, build, cases

COUNT = 37
REDUCING = [a for a in ALL if Collective.of(a.collective).reduces]


def random_inputs(layout: Layout, dtype: str, seed: int) -> list[Array]:
    chance = np.random.default_rng(seed)
    lengths = [sum(n for _, n in extents) // layout.itemsize for extents in layout.inputs]
    return [chance.integers(-100, 100, n).astype(dtype) for n in lengths]


def check(plan: Plan, layout: Layout, dtype: str, op: str, combine: Combine, in_place: bool, seed: int) -> None:
    inputs = random_inputs(layout, dtype, seed)
    how: dict[str, Any] = {"in_place": in_place, "layout": layout, "schedule": seed, "max_pieces": 3, "launches": 3}
    result = run(plan, inputs, op=op, **how)
    wanted = expected(plan, layout, inputs, combine)
    for outputs in result.launches:
        for part, got, want in zip(plan.ranks, outputs, wanted, strict=True):
            if part.output_chunks:
                np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("algorithm", "size"), cases(ALL, [1, 2, 3, 5]))
def test_bytes_that_wrap_around(algorithm: Algorithm, size: int) -> None:
    plan = build(algorithm, size)
    for in_place in (False, True) if plan.in_place else (False,):
        check(plan, Layout.uniform(plan, COUNT, 1), "int8", "sum", np.add, in_place, seed=size)


@pytest.mark.parametrize(("algorithm", "size"), cases(REDUCING, [1, 2, 3, 4, 7]))
def test_average_is_divided_once(algorithm: Algorithm, size: int) -> None:
    plan = build(algorithm, size)
    layout = Layout.uniform(plan, COUNT, 8)
    inputs = [size * given for given in random_inputs(layout, "int64", size)]
    outputs = run(plan, inputs, op="avg", schedule=size).outputs
    for part, got, total in zip(plan.ranks, outputs, expected(plan, layout, inputs), strict=True):
        if part.output_chunks:
            np.testing.assert_array_equal(got, total // size)


@pytest.mark.parametrize(("algorithm", "size"), cases(REDUCING, [4, 7]))
def test_maximum(algorithm: Algorithm, size: int) -> None:
    plan = build(algorithm, size)
    check(plan, Layout.uniform(plan, COUNT, 4), "float32", "max", np.maximum, False, seed=size)


@pytest.mark.parametrize(("algorithm", "size"), cases([a for a in ALL if a.variable], [2, 3, 5]))
def test_variable_counts(algorithm: Algorithm, size: int) -> None:
    plan = build(algorithm, size)
    chance = np.random.default_rng(size)
    counts = [[int(n) for n in chance.choice([0, 1, 17, 60], size)] for _ in range(size)]
    check(plan, variable_layout(plan, counts), "int32", "sum", np.add, False, seed=size)
