"""Every built-in algorithm is proven right: in every schedule, for every rank count that a run takes on trust."""

import pytest

from hal.plan.collective import Collective
from hal.plan.verify import verify
from hal_collectives.algorithms.registry import PROVEN_SIZES, provide

EVERYDAY = range(1, 9)


def prove(algorithm, size, roots):
    for root in roots if Collective.of(algorithm.collective).rooted else [None]:
        plan = algorithm.builder(size) if root is None else algorithm.builder(size, root)
        for variable in {False, algorithm.variable}:
            report = verify(plan, variable=variable)
            assert report.ok, str(report)


def cases(sizes):
    return [
        pytest.param(algorithm, size, id=f"{algorithm.collective}-{algorithm.name}-{size}")
        for algorithm in provide()
        for size in sorted(sizes)
        if algorithm.supports(size)
    ]


@pytest.mark.parametrize(("algorithm", "size"), cases(EVERYDAY))
def test_algorithms_are_proven(algorithm, size):
    prove(algorithm, size, range(size))


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "size"), cases(PROVEN_SIZES - set(EVERYDAY)))
def test_algorithms_on_many_ranks_are_proven(algorithm, size):
    # beyond 16 ranks a root at each end and one between
    prove(algorithm, size, range(size) if size <= 16 else (0, size // 2 - 1, size - 1))
