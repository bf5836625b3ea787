"""The plans behind the primitives: proven, built once, and right in the reference interpreter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hal.channels import plans
from hal.interface.dtypes import ReduceOp
from hal.plan import Plan, validate
from hal.plan.proven import prove
from hal.reference import run

ALL: list[Callable[[], Plan]] = [
    lambda: plans.signal(False),
    lambda: plans.signal(True),
    plans.put,
    plans.get,
    lambda: plans.post(False),
    lambda: plans.post(True),
    plans.packets,
    plans.nothing,
    lambda: plans.multicast(3, 1),
    lambda: plans.load_reduce(3, 2, ReduceOp.MAX),
    lambda: plans.nothing_switched(3),
]


@pytest.mark.parametrize("make", ALL)
def test_a_plan_is_proven_and_built_once(make: Callable[[], Plan]) -> None:
    plan = make()
    validate(plan)
    prove(plan)
    assert make() is plan


@pytest.mark.parametrize("make", ALL[2:7])
@pytest.mark.parametrize("count", [0, 1, 5, 1000])
def test_a_transfer_gives_the_receiver_what_the_sender_has(make: Callable[[], Plan], count: int) -> None:
    data = np.random.default_rng(count).integers(0, 256, count, np.uint8)
    for seed in range(5):
        result = run(make(), [data, np.empty(0, np.uint8)], count=count, schedule=seed, max_pieces=3, launches=2)
        assert (result.outputs[1] == data).all()


def test_a_store_through_a_switch_reaches_all() -> None:
    inputs = [np.arange(100, dtype=np.float32) + 1000 * rank for rank in range(3)]
    outputs = run(plans.multicast(3, 1), inputs).outputs
    assert all((output == inputs[1]).all() for output in outputs)


def test_a_load_through_a_switch_reduces() -> None:
    inputs = [np.arange(100, dtype=np.float32) * (rank + 1) for rank in range(3)]
    assert (run(plans.load_reduce(3, 2, ReduceOp.SUM), inputs).outputs[2] == 6 * inputs[0]).all()
