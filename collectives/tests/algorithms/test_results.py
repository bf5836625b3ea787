"""Every algorithm gives the right result, without a race, for every rank count it claims and any element count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hal.plan.collective import Collective
from hal.plan.layout import Layout
from hal.plan.model import Plan
from hal_collectives.algorithms import Algorithm, provide

from .interpreter import ITEM, Floats
from .oracle import expected, machine, variable_layout, with_short_pieces

SIZES = [1, 2, 3, 4, 5, 7, 8, 16]
COUNTS = [0, 1, 3, 17, 1000]
LAUNCHES = 3
ALL = list(provide())


def cases(chosen: list[Algorithm], sizes: list[int]) -> list[Any]:
    """Each algorithm with each of the rank counts that it claims."""
    return [pytest.param(a, n, id=f"{a.collective}-{a.name}-{n}") for a in chosen for n in sizes if a.supports(n)]


def build(algorithm: Algorithm, size: int) -> Plan:
    """The plan with short pieces; the root, where there is one, is neither first nor last if it can be."""
    return with_short_pieces(algorithm.build(size, size // 2 if Collective.of(algorithm.collective).rooted else None))


def whole_numbers(layout: Layout, seed: int) -> list[Floats]:
    """Inputs of all ranks whose sums are exact in any order."""
    chance = np.random.default_rng(seed)
    lengths = [sum(n for _, n in extents) // ITEM for extents in layout.inputs]
    return [chance.integers(-1000, 1000, n).astype(np.float32) for n in lengths]


def check(plan: Plan, layout: Layout, in_place: bool, seed: int) -> None:
    fills = [whole_numbers(layout, 10 * seed + launch) for launch in range(LAUNCHES)]
    results = machine(plan, layout, in_place, seed).run(fills)
    for launch, outputs in enumerate(results):
        for rank, (got, want) in enumerate(zip(outputs, expected(plan, layout, fills[launch]), strict=True)):
            if plan.ranks[rank].output_chunks:
                np.testing.assert_array_equal(got, want, f"launch {launch}, rank {rank}, in place {in_place}")


@pytest.mark.parametrize(("algorithm", "size"), cases(ALL, [1, 2, 3, 4, 5, 8]))
def test_result(algorithm: Algorithm, size: int) -> None:
    plan = build(algorithm, size)
    counts = COUNTS if size < 5 else [150]
    for count in counts:
        layout = Layout.uniform(plan, count, ITEM)
        for in_place in (False, True) if plan.in_place else (False,):
            check(plan, layout, in_place, seed=count)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("algorithm", "size"), cases(ALL, SIZES))
def test_result_under_many_schedules(algorithm: Algorithm, size: int) -> None:
    plan = build(algorithm, size)
    for count in COUNTS:
        layout = Layout.uniform(plan, count, ITEM)
        for seed in range(5):
            check(plan, layout, plan.in_place and seed % 2 == 1, seed)


@pytest.mark.parametrize(("algorithm", "size"), cases([a for a in ALL if a.variable], [1, 2, 3, 5]))
def test_variable_counts(algorithm: Algorithm, size: int) -> None:
    """Lengths differ between ranks, so do the pieces that their own blocks have, and some blocks are empty."""
    plan = build(algorithm, size)
    for seed in range(2):
        chance = np.random.default_rng(seed)
        counts = [[int(n) for n in chance.choice([0, 1, 17, 150], size)] for _ in range(size)]
        # in place what a rank sends to another must be as long as what it receives from there
        in_place = plan.in_place and plan.collective != "all_to_all" and seed % 2 == 1
        check(plan, variable_layout(plan, counts), in_place, seed)


@pytest.mark.parametrize(("algorithm", "size"), cases([a for a in ALL if a.collective == "all_reduce"], SIZES))
def test_all_reduce_gives_identical_bits_on_all_ranks(algorithm: Algorithm, size: int) -> None:
    plan = build(algorithm, size)
    layout = Layout.uniform(plan, 200, ITEM)
    chance = np.random.default_rng(size)
    scale = np.float32(10.0) ** chance.integers(-6, 6, (size, 200)).astype(np.float32)
    inputs = [(scale[r] * chance.standard_normal(200)).astype(np.float32) for r in range(size)]
    (outputs,) = machine(plan, layout, False, 0).run([inputs])
    for got in outputs:
        np.testing.assert_array_equal(got.view(np.uint32), outputs[0].view(np.uint32))
    np.testing.assert_allclose(outputs[0], np.sum(inputs, axis=0, dtype=np.float64), rtol=1e-4, atol=1e-1)
