"""Every built-in algorithm is proven right: in every schedule, for every rank count that a run takes on trust."""

import pytest

from hal.plan.collective import Collective
from hal.plan.verify import verify
from hal_collectives.algorithms.registry import PROVEN_SIZES, provide
from hal_collectives.selection import default_table, hosts_table

EVERYDAY = range(1, 9)
MANY = PROVEN_SIZES - set(EVERYDAY)


def prove(algorithm, size, roots):
    for root in roots if Collective.of(algorithm.collective).rooted else [None]:
        plan = algorithm.build(size, root)
        for variable in {False, algorithm.variable}:
            report = verify(plan, variable=variable)
            assert report.ok, str(report)


def is_chosen(algorithm):
    """Whether a table that comes with the package may choose it; others run where they are pinned."""
    tables = default_table(), hosts_table()
    return any(rule.name == algorithm.name for table in tables for rule in table.rules.get(algorithm.collective, ()))


def cases(sizes):
    found = [(algorithm, size) for algorithm in provide() for size in sorted(sizes) if algorithm.supports(size)]
    return [
        pytest.param(
            algorithm,
            size,
            id=f"{algorithm.collective}-{algorithm.name}-{size}",
            marks=[pytest.mark.exhaustive] if size > 32 and not is_chosen(algorithm) else [],
        )
        for algorithm, size in found
    ]


def by_node(sizes):
    """Those that treat nodes apart, for every size of a node that a group of several hosts may have."""
    return [
        pytest.param(
            algorithm.in_nodes(inside),
            size,
            id=f"{algorithm.collective}-{algorithm.name}-{size}-by-{inside}",
            marks=[pytest.mark.exhaustive] if size > 16 and inside != 8 else [],
        )
        for algorithm in provide()
        if algorithm.by_node
        for size in sorted(sizes)
        for inside in range(2, size)
        if size % inside == 0
    ]


@pytest.mark.parametrize(("algorithm", "size"), cases(EVERYDAY) + by_node(EVERYDAY))
def test_algorithms_are_proven(algorithm, size):
    prove(algorithm, size, range(size))


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "size"), cases(MANY) + by_node(MANY))
def test_algorithms_on_many_ranks_are_proven(algorithm, size):
    # beyond 16 ranks a root at the beginning and one in the middle
    prove(algorithm, size, range(size) if size <= 16 else (0, size // 2 - 1))
