"""What `run` takes and gives: counts, sharing of memory, launches, and arguments that do not fit."""

import numpy as np
import pytest

from hal.interface.errors import PlanError, UsageError
from hal.plan import Collective, Layout, Plan, PlanBuilder, RankPlan
from hal.reference import run


def read_all(collective, ranks=3, root=None):
    """A plan of any collective in which every rank reads the inputs of the others, between two meetings.

    It stages all inputs in scratch, and so is right in place.
    """
    p = PlanBuilder(collective, name="read_all", ranks=ranks, root=root)
    kind = p.collective

    def sources(rank, block):
        """Who has what goes to a block of the output."""
        match kind:
            case Collective.ALL_REDUCE | Collective.REDUCE:
                return [(other, 0) for other in p.ranks]
            case Collective.REDUCE_SCATTER:
                return [(other, rank.id) for other in p.ranks]
            case Collective.ALL_GATHER | Collective.GATHER:
                return [(p.ranks[block], 0)]
            case Collective.BROADCAST:
                return [(p.ranks[root], 0)]
            case Collective.SCATTER:
                return [(p.ranks[root], rank.id)]
            case Collective.ALL_TO_ALL:
                return [(p.ranks[block], rank.id)]
        raise AssertionError(kind)

    for rank in p.ranks:
        block = rank.block()
        for index in range(len(rank.input)):
            block.copy(rank.scratch[index], rank.input[index])
        block.signal(rank.others)
        block.wait(rank.others)
        for index in range(len(rank.output)):
            chunks = [owner.scratch[chunk] for owner, chunk in sources(rank, index)]
            block.move(rank.output[index], chunks, final=kind.reduces)
    return p.build()


COLLECTIVES = ["all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast", "reduce", "gather", "scatter"]


def expected(collective, inputs, root, count):
    kind = Collective.of(collective)
    ranks = range(len(inputs))
    cut = [[each[i : i + count] for i in range(0, len(each), count)] for each in inputs]
    match kind:
        case Collective.ALL_REDUCE:
            return [sum(inputs)] * len(ranks)
        case Collective.REDUCE:
            return [sum(inputs) if r == root else [] for r in ranks]
        case Collective.REDUCE_SCATTER:
            return [sum(blocks[r] for blocks in cut) for r in ranks]
        case Collective.ALL_GATHER:
            return [np.concatenate(inputs)] * len(ranks)
        case Collective.GATHER:
            return [np.concatenate(inputs) if r == root else [] for r in ranks]
        case Collective.BROADCAST:
            return [inputs[root]] * len(ranks)
        case Collective.SCATTER:
            return [cut[root][r] for r in ranks]
        case Collective.ALL_TO_ALL:
            return [np.concatenate([blocks[r] for blocks in cut]) for r in ranks]
    raise AssertionError(kind)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("collective", COLLECTIVES)
def test_the_count_follows_from_the_inputs_and_memory_may_be_shared(collective, in_place, numbers):
    root = 1 if Collective.of(collective).rooted else None
    plan = read_all(collective, root=root)
    count = 7
    sizes = [Collective.of(collective).blocks(3, rank, root)[0] * count for rank in range(3)]
    inputs = [each[:size] for each, size in zip(numbers(3, 3 * count), sizes, strict=True)]
    kept = [each.copy() for each in inputs]
    for schedule in (None, 1, 2, 3):
        result = run(plan, inputs, in_place=in_place, schedule=schedule, max_pieces=3, launches=3)
        for outputs in result.launches:
            for got, wanted in zip(outputs, expected(collective, inputs, root, count), strict=True):
                np.testing.assert_array_equal(got, wanted)
    for given, before in zip(inputs, kept, strict=True):
        np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize(
    ("collective", "shared"),
    [
        ("all_reduce", lambda output, given, rank: (output, given)),
        ("all_gather", lambda output, given, rank: (output[4 * rank : 4 * rank + 4], given)),
        ("reduce_scatter", lambda output, given, rank: (output, given[4 * rank : 4 * rank + 4])),
    ],
)
def test_where_memory_is_shared(collective, shared, numbers):
    """A plan that does nothing leaves the input where the output has it."""
    plan = PlanBuilder(collective, name="nothing", ranks=3).build()
    size = 12 if collective == "reduce_scatter" else 4
    inputs = numbers(3, size)
    result = run(plan, inputs, in_place=True)
    for rank in range(3):
        output, given = shared(result.outputs[rank], inputs[rank], rank)
        np.testing.assert_array_equal(output, given)
    apart = run(plan, inputs)
    assert {byte for output in apart.outputs for byte in output.tobytes()} == {0xA1}


def test_garbage_differs_from_launch_to_launch(numbers):
    p = PlanBuilder("all_reduce", name="unwritten", ranks=1)
    (rank,) = p.ranks
    rank.block().copy(rank.output[0], rank.scratch[0])
    result = run(p.build(), numbers(1, 4), launches=3)
    assert [set(outputs[0].tobytes()) for outputs in result.launches] == [{0xA1}, {0xA2}, {0xA3}]


def test_inputs_and_scratch_are_given_back(numbers):
    p = PlanBuilder("all_reduce", name="p", ranks=1)
    (rank,) = p.ranks
    block = rank.block()
    block.copy([rank.scratch[1], rank.output[0]], rank.input[0])
    block.copy(rank.input[0], rank.output[0])
    (data,) = numbers(1, 32)
    result = run(p.build(), [data])
    np.testing.assert_array_equal(result.inputs[0], data)
    np.testing.assert_array_equal(result.scratch[0][128:256].view(data.dtype), data)


def test_a_barrier_has_no_data(numbers):
    p = PlanBuilder("barrier", name="b", ranks=2)
    for rank in p.ranks:
        block = rank.block()
        block.signal(rank.others)
        block.wait(rank.others)
    result = run(p.build(), numbers(2, 0))
    assert [output.size for output in result.outputs] == [0, 0]


def copy_plan(**options):
    p = PlanBuilder("custom", name="copy", ranks=1, **options)
    (rank,) = p.ranks
    for chunk in range(len(rank.input)):
        rank.block().copy(rank.output[chunk], rank.input[chunk])
    return p.build()


def test_the_count_may_be_given(numbers):
    plan = copy_plan(split=4, input_chunks=3, output_chunks=4)
    with pytest.raises(UsageError, match="tell no count: pass `count`"):
        run(plan, numbers(1, 48))
    result = run(plan, numbers(1, 48), count=64)
    np.testing.assert_array_equal(result.outputs[0][:48], numbers(1, 48)[0])
    with pytest.raises(UsageError, match="no rank has an input"):
        run(copy_plan(input_chunks=0, output_chunks=1), numbers(1, 0))


def test_arguments_that_do_not_fit(numbers):
    plan = read_all("all_gather")
    with pytest.raises(UsageError, match="takes 3 inputs, one a rank, not 2"):
        run(plan, numbers(2, 4))
    with pytest.raises(UsageError, match="1-D arrays of one dtype"):
        run(plan, [*numbers(2, 4), np.zeros(4, np.float32)])
    with pytest.raises(UsageError, match="1-D arrays of one dtype"):
        run(plan, [np.zeros((2, 2), np.int32)] * 3)
    with pytest.raises(UsageError, match="unknown dtype"):
        run(plan, [np.zeros(4, np.complex64)] * 3)
    with pytest.raises(UsageError, match="inputs of 4, 4, 5 elements do not fit all_gather"):
        run(plan, [*numbers(2, 4), np.zeros(5, np.int32)])
    with pytest.raises(UsageError, match="do not fit reduce_scatter"):
        run(read_all("reduce_scatter"), numbers(3, 4))
    with pytest.raises(UsageError, match="the input of rank 0 has 4 elements of 4 bytes, but the layout needs 5 of 4"):
        run(plan, numbers(3, 4), count=5)
    with pytest.raises(UsageError, match="the layout needs 4 of 8"):
        run(plan, numbers(3, 4), layout=Layout.uniform(plan, 4, 8))
    with pytest.raises(UsageError, match="did you mean 'sum'"):
        run(plan, numbers(3, 4), op="summ")
    with pytest.raises(UsageError, match="1 or more, not 0 and 1"):
        run(plan, numbers(3, 4), launches=0)
    with pytest.raises(PlanError, match="has no root"):
        run(Plan("p", "barrier", (RankPlan(0, 0, 0, ()),), root=0), numbers(1, 0))


def test_plans_that_are_not_for_shared_memory(numbers):
    p = PlanBuilder("all_reduce", name="apart", ranks=1, in_place=False)
    with pytest.raises(UsageError, match="'apart' is not made for output and input that share memory"):
        run(p.build(), numbers(1, 4), in_place=True)
    with pytest.raises(UsageError, match="is not defined"):
        run(copy_plan(input_chunks=2, output_chunks=3), numbers(1, 4), in_place=True)
