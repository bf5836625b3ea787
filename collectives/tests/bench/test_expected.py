"""What each rank must receive, against a plain reading of the definition of each collective."""

import numpy as np
import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal.plan.collective import Collective
from hal_collectives.bench.expected import (
    count_changed_input,
    count_wrong_output,
    fill_input,
    output_pieces,
    poison,
)
from hal_collectives.bench.formulas import MEASURED, message
from hal_collectives.bench.values import Values

RANKS, COUNT, ROOT = 4, 50, 2


def definition(collective, inputs, rank):
    """The output of a rank for the inputs of all, block by block."""
    blocks = [np.split(data, RANKS) if len(data) == RANKS * COUNT else None for data in inputs]
    match collective:
        case Collective.ALL_REDUCE | Collective.REDUCE:
            return sum(inputs)
        case Collective.REDUCE_SCATTER:
            return sum(block[rank] for block in blocks)
        case Collective.ALL_GATHER | Collective.GATHER:
            return np.concatenate(inputs)
        case Collective.BROADCAST:
            return inputs[ROOT]
        case Collective.SCATTER:
            return blocks[ROOT][rank]
        case Collective.ALL_TO_ALL:
            return np.concatenate([block[rank] for block in blocks])
        case Collective.SEND_RECV:
            return inputs[rank - 1]


def situation(collective):
    op = ReduceOp.SUM if collective.reduces else None
    values = Values(DType.INT32, op, RANKS, seed=11)
    whole = collective in (Collective.ALL_REDUCE, Collective.BROADCAST, Collective.REDUCE, Collective.SEND_RECV)
    shape = message(collective, COUNT if whole else COUNT * RANKS, RANKS)
    inputs = []
    for rank in range(RANKS):
        data = np.empty(shape.send, np.int32)
        fill_input(data, values, rank)
        inputs.append(data)
    return values, shape, inputs


@pytest.mark.parametrize("collective", [one for one in MEASURED if one is not Collective.BARRIER])
def test_the_outputs_are_those_of_the_definition(collective):
    values, shape, inputs = situation(collective)
    for rank in range(RANKS):
        pieces = output_pieces(collective, rank, RANKS, ROOT, shape.count)
        if rank != ROOT and collective in (Collective.REDUCE, Collective.GATHER):
            assert pieces == []
            continue
        right = definition(collective, inputs, rank)
        assert sum(piece.length for piece in pieces) == len(right) == shape.receive
        assert count_wrong_output(right, pieces, values) == 0
        wrong = right.copy()
        wrong[[0, 17, -1]] += 1
        assert count_wrong_output(wrong, pieces, values) == 3


def test_poison_is_wrong_nearly_everywhere():
    values = Values(DType.FLOAT32, ReduceOp.SUM, 2, seed=0)
    output = np.zeros(10000, np.float32)
    poison(output)
    assert count_wrong_output(output, output_pieces(Collective.ALL_REDUCE, 0, 2, 0, 10000), values) == 10000


def test_nan_is_wrong_and_either_zero_is_right():
    values = Values(DType.FLOAT8_E5M2, ReduceOp.SUM, 2, seed=0)
    pieces = output_pieces(Collective.ALL_REDUCE, 0, 2, 0, 1000)
    output = values.reduced(0, 1000)
    zeros = np.flatnonzero(output == 0)
    assert len(zeros) > 0
    output[zeros] = -output[zeros]
    assert count_wrong_output(output, pieces, values) == 0
    output[5] = np.nan
    assert count_wrong_output(output, pieces, values) == 1


def test_a_changed_input_is_counted():
    values = Values(DType.FLOAT16, None, 3, seed=0)
    data = np.empty(200000, np.float16)
    fill_input(data, values, 1)
    assert count_changed_input(data, values, 1) == 0
    data[[3, 150000]] += 1
    assert count_changed_input(data, values, 1) == 2
    assert count_changed_input(data, values, 2) > 190000
