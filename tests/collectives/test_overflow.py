"""Sums and products beyond the range of a type: the native bits are the reference's, signs of NaN too."""

import ml_dtypes
import numpy as np
import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal.reference import run
from hal_collectives import run_local
from hal_collectives.algorithms import get

FLOATS = [dtype for dtype in DType if dtype.is_float]


def extremes(dtype):
    """Every pair of the values at the edges of a type, as two arrays."""
    largest = ml_dtypes.finfo(dtype.numpy).max
    smallest = ml_dtypes.finfo(dtype.numpy).smallest_subnormal
    edges = np.array([largest, -largest, smallest, -smallest, 0.0, -0.0, 1.0, -1.5, np.nan], np.float64)
    with np.errstate(all="ignore"):
        known = np.concatenate([edges.astype(dtype.numpy), (edges / 2).astype(dtype.numpy)])
    return np.repeat(known, len(known)), np.tile(known, len(known))


@pytest.mark.parametrize("op", [ReduceOp.SUM, ReduceOp.PROD, ReduceOp.AVG, ReduceOp.MIN, ReduceOp.MAX])
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_edges_of_floats(dtype, op):
    inputs = extremes(dtype)
    plan = get("all_reduce", "one_phase").build(2)
    wanted = run(plan, inputs, op=op).outputs

    def body(comm):
        return comm.all_reduce(inputs[comm.rank], np.empty_like(inputs[comm.rank]), op=op)

    for got, reference in zip(run_local(2, body, algorithms__all_reduce="one_phase"), wanted, strict=True):
        np.testing.assert_array_equal(got.view(np.uint8), reference.view(np.uint8))
