"""Every algorithm, pinned in turn, gives the right result for every rank count it claims.

Integers agree with NumPy bit for bit, min and max exactly. Algorithms that reduce in the order of the ranks do so for
floats too. The others may sum in any order and through several moves. With n ranks every element passes through at
most n - 1 operations in the accumulator's type and is stored in its own type at most n times on its way; an average is
divided once more. So the result lies within ((1 + u)^(2n) - 1) * S of the exact one, where u is half the spacing of
the stored type at 1 and S the sum (for prod: the product) of the magnitudes; to which each store may add half the
smallest subnormal number, scaled by what is multiplied with it later.

Every all_reduce gives the same bits on all ranks.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from hal.interface.dtypes import DType, ReduceOp
from hal.plan.collective import Collective
from hal_collectives import Communicator, run_local
from hal_collectives.algorithms import Algorithm, provide

from .calling import Jobs, bitwise, run_all, shown
from .cases import MOVING, RANKS, REDUCING, Case, covering, matrix
from .oracle import Job

Array = NDArray[Any]

PINNABLE = [a for a in provide() if a.collective not in ("barrier", "send_recv")]
FEW_RANKS = [3, 4]
SCRATCH = "64M"
SOME_DTYPES = {DType.UINT64, DType.FLOAT8_E4M3, DType.FLOAT32}


def bounded(got: Array, wanted: Array, job: Job, rank: int) -> str | None:
    """Judges a result of floats by the bound above."""
    dtype, op, n = job.case.dtype, job.case.op, job.size
    if not dtype.is_float or job.case.collective not in REDUCING:
        return bitwise(got, wanted, job, rank)
    if op in (ReduceOp.MIN, ReduceOp.MAX):
        return None if np.array_equal(got.astype(np.float64), wanted.astype(np.float64)) else "min or max is wrong"
    info = ml_dtypes.finfo(dtype.numpy)
    unit, tiny = float(info.eps) / 2, float(info.smallest_subnormal) / 2
    parts = [x.astype(np.longdouble) for x in _contributions(job, rank)]
    magnitudes = [np.abs(x) for x in parts]
    if op is ReduceOp.PROD:
        exact, scale, later = np.prod(parts, axis=0), np.prod(magnitudes, axis=0), 1.25**n
    else:
        share = n if op is ReduceOp.AVG else 1
        exact, scale, later = np.sum(parts, axis=0) / share, np.sum(magnitudes, axis=0) / share, 1.0
    bound = np.expm1(2 * n * np.log1p(unit)) * scale + n * tiny * later
    error = np.abs(got.astype(np.longdouble) - exact)
    bad = ~(error <= bound)
    if not bad.any():
        return None
    at = int(np.argmax(bad))
    return f"[{at}]: got {got[at]!r}, exact {exact[at]!r}, error {error[at]!r} above the bound {bound[at]!r}"


def _contributions(job: Job, rank: int) -> Sequence[Array]:
    """What is reduced to the result of a rank."""
    if not job.case.collective.startswith("reduce_scatter"):
        return job.inputs
    return [job.block(x, job.counts[0], rank) for x in job.inputs]


def check(algorithm: Algorithm, sizes: list[int], cases: list[Case], seed: int) -> None:
    reorders = not algorithm.in_order
    judge = bounded if reorders else bitwise
    for size in filter(algorithm.supports, sizes):
        jobs = Jobs(cases, size, seed + size, special=not reorders)
        pins = {f"algorithms__{algorithm.collective}": algorithm.name}
        problems = shown(run_local(size, run_all, jobs, judge, timeout=20, host__scratch_size=SCRATCH, **pins))
        assert not problems, f"{algorithm.name} on {size} ranks\n{problems}"


def cases_of(algorithm: Algorithm) -> list[Case]:
    forms = [c for c in (*REDUCING, *MOVING) if Collective.of(c).uniform.label == algorithm.collective]
    served = [c for c in forms if algorithm.variable or not c.endswith("_v")]
    return list(matrix(served, memories=["plain", "registered", "mixed"]))


def named(algorithm: Algorithm) -> str:
    return f"{algorithm.collective}-{algorithm.name}"


@pytest.mark.parametrize("algorithm", PINNABLE, ids=named)
def test_a_covering_sample(algorithm: Algorithm) -> None:
    few = [c for c in cases_of(algorithm) if c.dtype in SOME_DTYPES and c.count in (0, 17, 65537)]
    check(algorithm, FEW_RANKS, covering(few, seed=1), seed=1)


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
@pytest.mark.parametrize("algorithm", PINNABLE, ids=named)
def test_every_rank_count_and_type(algorithm: Algorithm) -> None:
    check(algorithm, RANKS, covering(cases_of(algorithm), seed=2), seed=2)


@pytest.mark.parametrize("size", [3, 8])
@pytest.mark.parametrize("name", [a.name for a in PINNABLE if a.collective == "all_reduce"])
def test_an_all_reduce_gives_the_same_bits_on_all_ranks(name: str, size: int) -> None:
    chance = np.random.default_rng(size)
    dtypes = [d for d in DType if d.is_float]
    ops = [ReduceOp.SUM, ReduceOp.PROD, ReduceOp.MIN, ReduceOp.AVG]
    chosen = list(itertools.product(dtypes, ops, [17, 1000]))
    inputs = {
        (dtype, count): [np.exp2(chance.uniform(-3, 3, count)).astype(dtype.numpy) for _ in range(size)]
        for dtype, _, count in chosen
    }

    def body(comm: Communicator) -> list[bytes]:
        results = []
        for dtype, op, count in chosen:
            x = inputs[dtype, count][comm.rank].copy()
            results.append(comm.all_reduce(x, op=op.label).tobytes())
        return results

    results = run_local(size, body, timeout=20, host__scratch_size=SCRATCH, algorithms__all_reduce=name)
    for number, (dtype, op, count) in enumerate(chosen):
        assert len({rank[number] for rank in results}) == 1, f"{dtype.label} {op.label} of {count}"
