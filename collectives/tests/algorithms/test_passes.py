"""Passes over every algorithm: what goes in and what comes out is verified, and gives the same as NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from hal.interface.errors import PlanError
from hal.plan.layout import Layout
from hal.plan.lower import spans, walk
from hal.plan.model import Loop, Move, Plan
from hal.plan.passes import fuse, instances, pipeline, synchronise
from hal.plan.verify import verify
from hal_collectives.algorithms import Algorithm

from .oracle import variable_layout
from .test_reference import check
from .test_results import ALL, build, cases

UNIT = 64
FEW, MORE, STILL_MORE = [3], [2, 8], [4]
PASSES: dict[str, Callable[[Plan], Plan]] = {
    "instances": lambda plan: instances(plan, 3),
    "one slot": lambda plan: pipeline(plan, UNIT, 1),
    "two slots": lambda plan: pipeline(plan, UNIT, 2),
    "fuse": fuse,
    "synchronise": synchronise,
    "instances in pieces": lambda plan: pipeline(instances(plan, 2), UNIT, 2),
    "all": lambda plan: fuse(instances(pipeline(fuse(plan), UNIT, 3), 2)),
}
# The staged reduce shares the work, which publish leaves to the root.
STAGED = [a for a in ALL if a.name == "staged" and a.collective != "reduce"]


def made(algorithm: Algorithm, size: int) -> Iterator[tuple[str, Plan]]:
    plan = build(algorithm, size)
    for name, change in PASSES.items():
        try:
            yield name, change(plan)
        except PlanError as error:
            if why_not_in_pieces(plan) not in error.message:
                raise


def why_not_in_pieces(plan: Plan) -> str:
    if has_loops(plan):
        return "is a loop already"
    if any(span.packet for span in spans(plan)):
        return "it has packets"
    return "it moves no data" if plan.collective == "barrier" else "begin at different chunks"


def has_loops(plan: Plan) -> bool:
    return any(isinstance(i, Loop) for rank in plan.ranks for block in rank.blocks for i in block)


def verify_and_run(algorithm: Algorithm, size: int) -> None:
    for number, (name, plan) in enumerate(made(algorithm, size)):
        report = verify(plan)
        assert report.ok, (name, report.findings)
        # long enough for the slots of a pipeline to be used again
        layout = Layout.uniform(plan, 60 * plan.split if has_loops(plan) else 37, 4)
        check(plan, layout, "int32", "sum", np.add, plan.in_place and number % 3 == 0, seed=number)


@pytest.mark.parametrize(("algorithm", "size"), cases(ALL, FEW))
def test_what_comes_out_is_right(algorithm: Algorithm, size: int) -> None:
    verify_and_run(algorithm, size)


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "size"), cases(ALL, MORE))
def test_what_comes_out_is_right_on_more_ranks(algorithm: Algorithm, size: int) -> None:
    verify_and_run(algorithm, size)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("algorithm", "size"), cases(ALL, STILL_MORE))
def test_what_comes_out_is_right_on_still_more(algorithm: Algorithm, size: int) -> None:
    verify_and_run(algorithm, size)


@pytest.mark.parametrize(("algorithm", "size"), cases([a for a in ALL if a.variable], [3]))
def test_variable_counts(algorithm: Algorithm, size: int) -> None:
    counts = [[(5 * r + 7 * k) % 11 * 20 for k in range(size)] for r in range(size)]
    for name, plan in made(algorithm, size):
        if plan.split == 1:
            assert "instances" not in name
            check(plan, variable_layout(plan, counts), "float32", "sum", np.add, in_place=False, seed=1)


@pytest.mark.parametrize(
    ("collective", "name"),
    [
        *((collective, "publish") for collective in ("all_gather", "reduce_scatter", "broadcast", "scatter", "gather")),
        ("all_reduce", "two_phase"),
        ("all_reduce", "recursive_doubling"),
        ("all_reduce", "binomial_tree"),
    ],
)
def test_these_are_done_in_pieces(collective: str, name: str) -> None:
    (algorithm,) = (a for a in ALL if (a.collective, a.name) == (collective, name))
    assert has_loops(pipeline(build(algorithm, 5), UNIT, 2))


@pytest.mark.parametrize(("algorithm", "size"), cases(STAGED, [2, 4]))
def test_pieces_need_no_more_signals_than_a_careful_hand_gives_them(algorithm: Algorithm, size: int) -> None:
    """`staged` is the pipeline of `publish`, or of `two_phase`, with slots as few as it can do with."""
    by_hand = build(algorithm, size)
    source = {"all_reduce": "two_phase"}.get(algorithm.collective, "publish")
    plain = next(a for a in ALL if a.name == source and a.collective == algorithm.collective)
    slots = {loop.slots for rank in by_hand.ranks for block in rank.blocks for loop in block if isinstance(loop, Loop)}
    by_pass = pipeline(build(plain, size), UNIT, slots.pop())
    assert channels_used(by_pass) <= channels_used(by_hand) + extra(by_hand)


def channels_used(plan: Plan) -> int:
    return sum(len(rank.channels) for rank in plan.ranks)


def extra(plan: Plan) -> int:
    """A stream by hand returns credits on the channel that it has; the pass makes one of their own for them."""
    one_way = plan.collective in ("broadcast", "gather", "scatter", "send_recv")
    return channels_used(plan) if one_way else 0


def test_fusing_saves_a_pass_over_memory() -> None:
    """The root of a tree copies its input to its output, and from there on to its children."""
    plan = build(next(a for a in ALL if a.name == "binomial_tree" and a.collective == "broadcast"), 4)
    moves = [i for block in fuse(plan).ranks[plan.root or 0].blocks for i in walk(block) if isinstance(i, Move)]
    assert len(moves) == 1
    assert len(moves[0].dst) == 3
