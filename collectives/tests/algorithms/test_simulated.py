"""The algorithms in the simulator: every one runs, and as many ranks as there are clusters."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hal.interface.errors import UsageError
from hal.plan.collective import Collective
from hal.plan.simulate import Compute, Prediction, Topology, load_topology, simulate
from hal_collectives.algorithms import Algorithm, get, hierarchical, provide

ALL = list(provide())
TREE = Path(__file__).parents[3] / "examples" / "topologies" / "fat-tree.yaml"
BANDWIDTH = 1e10
LATENCY = 1e-6


def label(a: Algorithm) -> str:
    return f"{a.collective}-{a.name}"


def flat(ranks: int) -> Topology:
    """All ranks on one switch, with nothing else that takes time."""
    topology = Topology(ranks, Compute())
    hub = topology.add_switch("hub")
    for rank in range(ranks):
        topology.connect(rank, hub, BANDWIDTH, LATENCY / 2)
    return topology


@pytest.mark.parametrize("chosen", ALL, ids=label)
def test_one_block_for_all_that_are_alike_gives_what_all_blocks_give(chosen: Algorithm) -> None:
    topology = load_topology(TREE)
    for size in filter(chosen.supports, [2, 3, 4, 10]):
        plan = chosen.build(size, size - 1 if Collective.of(chosen.collective).rooted else None)
        for count in (0, 33, 50_000):
            alike = simulate(plan, topology, count)
            every = simulate(plan, topology, count, merge=False)
            assert alike.time == pytest.approx(every.time, rel=1e-9)
            assert carried(alike) == pytest.approx(carried(every), rel=1e-9)
            assert math.fsum(s.seconds for s in alike.critical_path) == pytest.approx(alike.time)


def carried(prediction: Prediction) -> dict[str, float]:
    return {name: load.carried for load in prediction.loads for name in load.names}


def test_a_ring_of_many_ranks_is_one_rank() -> None:
    size = 64
    count = size * 1024
    prediction = simulate(get("all_reduce", "ring").build(size), flat(size), count, validate=False)
    steps = 2 * (size - 1)
    assert prediction.simulated == 1
    assert prediction.time == pytest.approx(steps * (LATENCY + 4 * count / size / BANDWIDTH))


@pytest.mark.parametrize("size", [64, 256])
def test_steps_of_doubling_and_trees(size: int) -> None:
    steps = int(math.log2(size))
    doubling = simulate(get("all_reduce", "recursive_doubling").build(size), flat(size), 1000, validate=False)
    assert doubling.time == pytest.approx(steps * (LATENCY + 4000 / BANDWIDTH))
    tree = simulate(get("all_reduce", "binomial_tree").build(size), flat(size), 0, validate=False)
    assert tree.time == pytest.approx(2 * steps * LATENCY)


@pytest.mark.slow
def test_hierarchy_pays_where_links_between_nodes_are_slow() -> None:
    topology = load_topology(TREE)
    count = 1 << 20
    by_node = simulate(hierarchical.all_reduce(256, 8), topology, count, validate=False)
    tree = simulate(get("all_reduce", "binomial_tree").build(256), topology, count, validate=False)
    assert by_node.time < tree.time / 4
    assert math.fsum(step.seconds for step in by_node.critical_path) == pytest.approx(by_node.time)


def test_nodes_have_equally_many_ranks() -> None:
    assert [hierarchical.usual_node(n) for n in (1, 2, 6, 7, 12, 16, 1024)] == [1, 1, 2, 1, 3, 4, 32]
    with pytest.raises(UsageError, match="6 ranks are not nodes of 4 ranks each"):
        hierarchical.all_reduce(6, 4)
