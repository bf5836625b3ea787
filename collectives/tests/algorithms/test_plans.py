"""What the plans of the algorithms are like: names, scratch, channels, what they claim of the buffers."""

from __future__ import annotations

import pytest

from hal.interface.dtypes import DType
from hal.interface.errors import UsageError
from hal.plan.collective import Collective
from hal.plan.layout import Layout
from hal.plan.lower import lower, mapped_buffers, walk
from hal.plan.model import Plan, Signal
from hal.plan.stretch import stretch
from hal.plan.validate import validate
from hal_collectives.algorithms import Algorithm, algorithm, algorithms, get, provide
from hal_collectives.algorithms.staging import SCRATCH_BUDGET

SIZES = [1, 2, 3, 4, 7, 8, 16]
MORE_SIZES = [5, 6, *range(9, 16), 32, 48, 64]
ALL = list(provide())
BOUNDED = [a for a in ALL if a.name in ("staged", "ring")]


def label(a: Algorithm) -> str:
    return f"{a.collective}-{a.name}"


def plan_of(a: Algorithm, size: int) -> Plan:
    return a.build(size, size - 1 if Collective.of(a.collective).rooted else None)


@pytest.mark.parametrize("chosen", ALL, ids=label)
def test_plan_is_valid_and_says_what_the_register_says(chosen: Algorithm) -> None:
    check_plans(chosen, SIZES)


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ALL, ids=label)
def test_plans_of_more_sizes(chosen: Algorithm) -> None:
    check_plans(chosen, MORE_SIZES)


def check_plans(chosen: Algorithm, sizes: list[int]) -> None:
    for size in filter(chosen.supports, sizes):
        plan = plan_of(chosen, size)
        validate(plan)
        assert (plan.collective, plan.name, plan.size) == (chosen.collective, chosen.name, size)
        assert plan.in_place == chosen.in_place
        if size > 1:
            assert bool(mapped_buffers(plan)) == chosen.mapped
        if chosen.variable:
            assert plan.split == 1
        assert plan_of(chosen, size) is plan


@pytest.mark.parametrize("chosen", BOUNDED, ids=label)
def test_scratch_of_staging_algorithms_is_bounded(chosen: Algorithm) -> None:
    for size in filter(chosen.supports, [*SIZES, *MORE_SIZES]):
        plan = plan_of(chosen, size)
        layout = Layout.uniform(plan, 1 << 28, 4)
        assert lower(plan, 0, layout, DType.FLOAT32).scratch_bytes <= SCRATCH_BUDGET


@pytest.mark.parametrize("chosen", [a for a in ALL if a.name == "staged"], ids=label)
def test_rings_of_staging_algorithms_grow(chosen: Algorithm) -> None:
    """But that of all_reduce, whose one slot is to stay in the caches."""
    plan = plan_of(chosen, 2)
    layout = Layout.uniform(plan, 1 << 20, 4)
    longer, _ = stretch(plan, layout, SCRATCH_BUDGET)
    assert (longer is plan) == (chosen.collective == "all_reduce")


@pytest.mark.parametrize("chosen", [a for a in ALL if a.name in ("staged", "publish")], ids=label)
def test_signals_on_first_channels_go_to_all_others_or_to_one(chosen: Algorithm) -> None:
    """A rank whose signals on the first channel of each peer always go to all others needs one store for them."""
    size = 4 if chosen.supports(4) else 2
    plan = plan_of(chosen, size)
    for part in plan.ranks:
        peers = [channel.peer for channel in part.channels]
        signals = [i for block in part.blocks for i in walk(block) if isinstance(i, Signal)]
        reached = [[peers[c] for c in signal.channels if c == peers.index(peers[c])] for signal in signals]
        assert len({len(r) for r in reached if r}) <= 1
        assert all(len(r) in (0, 1, size - 1) for r in reached)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'two_phase_mapped'"):
        get("all_reduce", "two_phase_maped")
    with pytest.raises(UsageError, match="did you mean 'all_reduce'"):
        algorithms("allreduce")


def test_variable_forms_have_the_algorithms_that_serve_them() -> None:
    assert [a.name for a in algorithms("all_gather_v")] == [
        "publish",
        "direct_mapped",
        "staged",
        "hierarchical_staged",
        "pushed",
        "ring",
    ]
    with pytest.raises(UsageError, match="unknown algorithm of all_to_all_v 'all_pairs_ll'"):
        get("all_to_all_v", "all_pairs_ll")


def test_build_refuses_what_the_algorithm_does_not_serve() -> None:
    with pytest.raises(UsageError, match="serves 2 ranks, not 3"):
        get("send_recv", "staged").build(3)
    with pytest.raises(UsageError, match="needs a root of 0 to 3, not 4"):
        get("broadcast", "staged").build(4, 4)
    with pytest.raises(UsageError, match="needs a root"):
        get("broadcast", "staged").build(4)
    with pytest.raises(UsageError, match="has no root"):
        get("all_reduce", "staged").build(4, 0)
    with pytest.raises(UsageError, match="not 0"):
        get("all_reduce", "staged").build(0)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(UsageError, match="has an algorithm 'ring' already"):
        algorithm("all_reduce", name="ring", description="")(lambda size: plan_of(get("all_reduce", "ring"), size))
