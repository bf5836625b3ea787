"""What a move computes, in every dtype, through one plan that reduces the inputs of all ranks."""

import ml_dtypes
import numpy as np
import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError
from hal.plan import PlanBuilder
from hal.reference import run


def reduce_to_first(ranks, op=None):
    p = PlanBuilder("reduce", name="read", ranks=ranks, root=0)
    first = p.ranks[0]
    block = first.block()
    if first.others:
        block.wait(first.others)
    block.move(first.output[0], [rank.input[0] for rank in p.ranks], op, final=True)
    for rank in first.others:
        rank.block().signal([first])
    return p.build()


def reduced(*inputs, op="sum", dtype=None):
    arrays = [np.array(each, dtype) for each in inputs]
    return run(reduce_to_first(len(arrays)), arrays, op=op).outputs[0]


@pytest.mark.parametrize("dtype", list(DType))
@pytest.mark.parametrize("op", [op for op in ReduceOp if not op.is_bitwise])
def test_small_whole_numbers_are_exact_in_every_dtype(dtype, op, numbers):
    inputs = numbers(2, 9, dtype.numpy)
    exact = {
        ReduceOp.SUM: lambda a: sum(a),
        ReduceOp.PROD: lambda a: a[0] * a[1],
        ReduceOp.MIN: np.minimum.reduce,
        ReduceOp.MAX: np.maximum.reduce,
        ReduceOp.AVG: lambda a: sum(a) / 2 if dtype.is_float else sum(a) // 2,
    }[op]([each.astype(np.float64) for each in inputs])
    result = run(reduce_to_first(2), inputs, op=op).outputs[0]
    assert result.dtype == dtype.numpy
    np.testing.assert_array_equal(result, exact.astype(dtype.numpy))


def test_bitwise_operations():
    assert reduced([0b1100], [0b1010], op="band", dtype=np.uint8) == 0b1000
    assert reduced([0b1100], [0b1010], op="bor", dtype=np.int64) == 0b1110
    assert reduced([0b1100], [0b1010], op="bxor", dtype=np.uint32) == 0b0110
    with pytest.raises(UsageError, match="defined on integers"):
        reduced([1.0], [2.0], op="bor", dtype=np.float32)


def test_a_named_operation_is_checked_too(numbers):
    with pytest.raises(UsageError, match="'bxor' is defined on integers"):
        run(reduce_to_first(2, ReduceOp.BXOR), numbers(2, 3, np.float32))


def test_integers_wrap_around():
    assert reduced([100], [100], dtype=np.int8) == -56
    assert reduced([200], [100], dtype=np.uint8) == 44
    assert reduced([2**63], [2**63], dtype=np.uint64) == 0
    assert reduced([2**40], [2**40], op="prod", dtype=np.int64) == 0


def test_an_integer_average_is_truncated_towards_zero():
    assert list(reduced([-7, 7, -128], [0, 0, 0], op="avg", dtype=np.int8)) == [-3, 3, -64]
    assert reduced([2**63 - 1], [0], op="avg", dtype=np.int64) == 2**62 - 1
    assert reduced([2**64 - 1], [0], op="avg", dtype=np.uint64) == 2**63 - 1


def test_a_divisor_may_exceed_a_narrow_integer(numbers):
    inputs = [np.array([rank == 7, 120 * (rank < 1)], np.int8) for rank in range(200)]
    assert list(run(reduce_to_first(200), inputs, op="avg").outputs[0]) == [0, 0]


def test_narrow_floats_accumulate_in_float32_and_round_once():
    # in float16 itself 2048 + 1 + 1 would stay 2048
    assert reduced([2048], [1], [1], dtype=np.float16) == 2050
    assert reduced([256], [1], [1], dtype=ml_dtypes.bfloat16) == 258
    # the sum overflows float16 but its average does not
    assert reduced([60000], [60000], op="avg", dtype=np.float16) == np.float16(60000)


def test_sums_go_from_left_to_right():
    assert reduced([2.0**24], [1], [1], dtype=np.float32) == 2**24
    assert reduced([1], [1], [2.0**24], dtype=np.float32) == 2**24 + 2


@pytest.mark.parametrize("dtype", [d for d in DType if d.is_float])
def test_a_nan_that_was_computed_is_positive_and_quiet(dtype):
    nans = np.array([np.nan] * 2, dtype.numpy)
    negative = -nans
    ones = np.ones(2, dtype.numpy)
    for op in ("sum", "prod", "min", "max", "avg"):
        for inputs in ([negative, ones], [ones, negative]):
            result = run(reduce_to_first(2), inputs, op=op).outputs[0]
            assert result.tobytes() == nans.tobytes()


def test_one_source_is_copied_bit_for_bit():
    payload = np.array([0x7FA00001, 0xFFC00002], np.uint32).view(np.float32)
    assert reduced(payload, dtype=np.float32).tobytes() == payload.tobytes()


def test_of_two_that_compare_equal_the_later_is_taken():
    for op in ("min", "max"):
        assert np.signbit(reduced([0.0], [-0.0], op=op, dtype=np.float32)) == [True]
        assert np.signbit(reduced([-0.0], [0.0], op=op, dtype=np.float32)) == [False]


def test_overflow():
    assert reduced([60000], [60000], dtype=np.float16) == np.inf
    assert np.isnan(reduced([400], [400], dtype=ml_dtypes.float8_e4m3fn))
