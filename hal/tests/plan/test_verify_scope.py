"""What a proof holds for: which counts, operations, types and sharings of memory a report says that it covers."""

import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal.plan import PlanBuilder
from hal.plan.verify import verify

from .verifying import builder, exchange

ALL = tuple(ReduceOp)


def reduced(op=None, **options):
    p = builder(ranks=2, **options)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
        block.move(rank.output[0], [q.scratch[0] for q in p.ranks], op, final=True)
    return p.build()


def test_any_operation():
    report = verify(reduced())
    assert report.scope.operations == ALL
    assert report.scope.types == tuple(DType)
    assert str(report).endswith(": equal counts, any operation, any type, apart and in place")
    assert report.facts()["scope"] == {
        "counts": "equal",
        "operations": [op.label for op in ReduceOp],
        "types": [dtype.label for dtype in DType],
        "sharings": ["apart", "in place"],
        "outputs": True,
    }


@pytest.mark.parametrize("op", [ReduceOp.SUM, ReduceOp.MAX, ReduceOp.BXOR])
def test_a_plan_made_for_one_operation(op):
    report = verify(reduced(op))
    assert report.scope.operations == (op,)
    assert f"{op.label} alone" in str(report)
    assert (DType.FLOAT32 in report.scope.types) is (op is not ReduceOp.BXOR)
    assert ("integers" in str(report)) is (op is ReduceOp.BXOR)


def test_a_plan_that_is_right_only_where_repetitions_make_no_difference():
    p = builder(ranks=1)
    (rank,) = p.ranks
    rank.block().move(rank.output[0], [rank.input[0], rank.input[0]], ReduceOp.MIN, final=True)
    report = verify(p.build())
    assert report.ok
    assert report.facts()["scope"]["operations"] == ["min"]


def test_one_operation_in_some_layouts_alone():
    """A loop without pieces reduces nothing, and that is not to say that any operation will do."""
    p = builder("reduce_scatter", ranks=1, scratch_chunk_bytes=256)
    (rank,) = p.ranks
    block = rank.block()
    with block.loop(256):
        block.move(rank.output[0], [rank.input[0], rank.input[0]], ReduceOp.MAX, final=True)
    assert verify(p.build()).scope.operations == (ReduceOp.MAX,)
    assert verify(p.build(), variable=True).scope.operations == (ReduceOp.MAX,)


def test_nothing_to_reduce(all_gather):
    report = verify(all_gather)
    assert report.scope.operations == ()
    assert str(report).endswith(": equal counts, any type, apart and in place")


def test_no_promise():
    p = PlanBuilder("custom", name="free", ranks=1, input_chunks=1, output_chunks=1, in_place=False)
    report = verify(p.build())
    assert report.scope.outputs is False
    assert str(report).endswith(": equal counts, any operation, any type, apart, but not what outputs hold")


def test_sharings():
    assert verify(reduced(in_place=False)).scope.sharings == ("apart",)


def test_none_without_a_proof():
    report = verify(exchange(first=False))
    assert report.scope is None
    assert report.facts()["scope"] is None
