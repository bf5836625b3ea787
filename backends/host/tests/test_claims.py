"""What ranks claim of others' scratch: what they alone read, and once. That results stay right, the matrix shows."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal.plan.builder import PlanBuilder
from hal.plan.layout import Layout
from hal.plan.lower import lower
from hal.plan.model import Plan
from hal_collectives.algorithms import get
from hal_host.claims import Claims, claims

from .lanes import SECOND, Lanes, address, decode, executable, on_threads

UNCLAIMED = {("all_reduce", "staged"), ("all_reduce", "all_pairs_ll"), ("all_gather", "direct_mapped")}
"""Without need: results are written where was read, data are in packets, or in buffers."""


@pytest.mark.parametrize(
    ("collective", "name", "size", "all_are"),
    [
        ("all_reduce", "one_phase", 2, True),
        ("all_reduce", "one_phase", 3, False),  # all read what each publishes
        ("all_reduce", "staged", 2, True),
        ("all_reduce", "staged", 5, True),
        ("reduce_scatter", "staged", 5, True),
        ("all_to_all", "staged", 5, True),
        ("all_gather", "staged", 2, True),
        ("all_gather", "staged", 3, False),
        ("send_recv", "publish_piecewise", 2, True),
        ("all_reduce", "all_pairs_ll", 3, True),
        ("all_gather", "direct_mapped", 3, True),
    ],
)
def test_what_is_claimed(collective: str, name: str, size: int, all_are: bool) -> None:
    found = claims(get(collective, name).build(size))
    assert found.all == all_are
    some = any(itertools.chain.from_iterable(itertools.chain.from_iterable(found.moves)))
    assert some == (all_are and (collective, name) not in UNCLAIMED)


def pulled(twice: bool, back: bool = False) -> Plan:
    """Rank 1 takes what rank 0 has put into its scratch, or takes it twice; or rank 0 takes it back as well."""
    p = PlanBuilder("send_recv", name="pulled", ranks=2)
    sender, receiver = p.ranks
    block = sender.block()
    block.copy(sender.scratch[0], sender.input[0])
    block.signal([receiver])
    if back:
        block.copy(sender.scratch[1], sender.scratch[0])
    block = receiver.block()
    block.wait([sender])
    if twice:
        block.copy(receiver.scratch[0], sender.scratch[0])
    block.copy(receiver.output[0], sender.scratch[0])
    return p.build()


@pytest.mark.parametrize(("twice", "back"), [(True, False), (False, True)])
def test_what_is_read_again_is_not_claimed(twice: bool, back: bool) -> None:
    assert claims(pulled(False)) == Claims([[[]], [[1]]], True)
    assert claims(pulled(twice, back)) == Claims([[[]], [[]]], False)


@pytest.mark.parametrize(("collective", "name"), [("all_reduce", "one_phase"), ("send_recv", "publish")])
@pytest.mark.parametrize("count", [21, 1000, 5000])
def test_a_reduction_leaves_its_result_where_it_claims(collective: str, name: str, count: int) -> None:
    """A copy leaves what was there. Without claims nothing changes either way."""
    plan = get(collective, name).build(2)
    for claiming in (True, False):
        lanes = Lanes(2)
        sources = [np.arange(rank, rank + count, dtype=np.int32) for rank in range(2)]
        targets = [np.zeros(count, np.int32) for _ in range(2)]
        runs = []
        for rank, lane in enumerate(lanes.lanes):
            program = lower(plan, rank, Layout.uniform(plan, count, 4), DType.INT32, ReduceOp.SUM)
            found = claims(plan).moves[rank] if claiming else []
            ready = executable(lane, decode(lane, program, claims=found, roams=False), count=count, dtype=DType.INT32)
            runs.append(functools.partial(ready.run, *address(sources[rank]), *address(targets[rank]), 30 * SECOND))
        assert on_threads(runs) == [0, 0]
        reduces = collective == "all_reduce"
        assert (targets[1] == (sources[0] + sources[1] if reduces else sources[0])).all()
        half = lanes.lanes[0].scratch_bytes
        left = lanes.scratch(0)[half : half + 4 * count].view(np.int32)  # the first launch has the second half
        assert (left == (targets[0] if reduces and claiming else sources[0])).all()
