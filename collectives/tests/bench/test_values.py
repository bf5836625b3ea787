"""The test data: exact in every type and operation for any order of the ranks, and unlike its neighbours."""

import functools
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError
from hal.reference.arithmetic import combine
from hal_collectives.bench.values import Values

COUNT = 600
OPS = [(dtype, op) for dtype in DType for op in ReduceOp if not (op.is_bitwise and dtype.is_float)]

STEPS = {
    ReduceOp.SUM: np.add,
    ReduceOp.PROD: np.multiply,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
    ReduceOp.AVG: np.add,
    ReduceOp.BAND: np.bitwise_and,
    ReduceOp.BOR: np.bitwise_or,
    ReduceOp.BXOR: np.bitwise_xor,
}


def data(dtype, op, ranks):
    values = Values(dtype, op, ranks, seed=7)
    return [values.of(rank, 0, COUNT) for rank in range(ranks)], values.reduced(0, COUNT)


@pytest.mark.parametrize(("dtype", "op"), OPS, ids=lambda value: value.label)
def test_the_reduction_is_what_the_specification_gives(dtype, op):
    for ranks in range(1, 17):
        arrays, expected = data(dtype, op, ranks)
        divisor = ranks if op is ReduceOp.AVG else 1
        assert np.array_equal(combine(arrays, dtype, op, divisor), expected), ranks


@pytest.mark.parametrize(("dtype", "op"), OPS, ids=lambda value: value.label)
def test_every_order_of_the_ranks_gives_the_same_though_each_step_rounds(dtype, op):
    shuffle = np.random.default_rng(1)
    for ranks in range(2, 17):
        arrays, expected = data(dtype, op, ranks)
        for order in (range(ranks)[::-1], shuffle.permutation(ranks)):
            result = functools.reduce(STEPS[op], [arrays[rank] for rank in order])
            if op is ReduceOp.AVG:
                result = combine([result], dtype, op, ranks)
            assert result.dtype == dtype.numpy
            assert np.array_equal(result, expected), ranks


@pytest.mark.parametrize(("dtype", "op"), OPS, ids=lambda value: value.label)
def test_every_rank_matters_and_nothing_is_infinite(dtype, op):
    for ranks in (2, 5, 16):
        arrays, expected = data(dtype, op, ranks)
        for array in (*arrays, expected):
            assert np.all(np.isfinite(array.astype(np.float64)))
        for left_out in range(ranks):
            rest = [array for rank, array in enumerate(arrays) if rank != left_out]
            without = combine(rest, dtype, op, ranks if op is ReduceOp.AVG else 1)
            assert not np.array_equal(without, expected), (ranks, left_out)


@pytest.mark.parametrize("dtype", DType, ids=lambda value: value.label)
def test_moved_data_has_all_kinds_of_finite_bit_patterns(dtype):
    moved = Values(dtype, None, 4, seed=1).of(2, 0, 20000)
    assert moved.dtype == dtype.numpy
    assert np.all(np.isfinite(moved.astype(np.float64)))
    bits = moved.view(f"u{dtype.itemsize}")
    always_zero = ~np.bitwise_or.reduce(bits)
    always_one = np.bitwise_and.reduce(bits)
    assert bin(int(always_zero)).count("1") == (1 if dtype.is_float else 0)  # a bit of the exponent
    assert always_one == 0


def test_no_stretch_is_a_shifted_copy_of_another():
    ranks, count = 6, 4000
    arrays = [Values(DType.UINT32, None, ranks, seed=3).of(rank, 0, count) for rank in range(ranks)]
    assert len(np.unique(np.concatenate(arrays))) > 0.999 * ranks * count
    for one, other in itertools.combinations_with_replacement(range(ranks), 2):
        # a copy, even with a constant added, would show the same differences of neighbours
        common = np.intersect1d(np.diff(arrays[one]), np.diff(arrays[other]))
        assert one == other or len(common) < 5


def test_any_stretch_can_be_asked_for():
    for op in (None, ReduceOp.SUM, ReduceOp.PROD, ReduceOp.BAND):
        values = Values(DType.INT16, op, 9, seed=5)
        assert np.array_equal(values.of(4, 0, 1000)[300:700], values.of(4, 300, 700))
        if op is not None:
            assert np.array_equal(values.reduced(0, 1000)[300:700], values.reduced(300, 700))


def test_another_seed_gives_other_data():
    one, other = (Values(DType.FLOAT32, ReduceOp.SUM, 3, seed).of(1, 0, 100) for seed in (1, 2))
    assert np.count_nonzero(one == other) < 5


def test_the_data_is_the_same_in_every_process():
    # each rank makes the others' data anew when it checks: nothing of it may depend on the process
    made = f"{Values.__module__} import Values; print(Values(DType.UINT32, None, 2, seed=9).of(1, 0, 3).tolist())"
    program = f"from hal.interface.dtypes import DType; from {made}"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout) == Values(DType.UINT32, None, 2, seed=9).of(1, 0, 3).tolist()


def test_bitwise_operations_need_integers():
    with pytest.raises(UsageError, match="band"):
        Values(DType.FLOAT16, ReduceOp.BAND, 2, seed=0)
