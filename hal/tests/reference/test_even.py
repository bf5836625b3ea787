"""Plans of even chunks: parts of moves, moves of scratch alone, loops with and without slots, switches, aliasing."""

import dataclasses

import numpy as np
import pytest

from hal.interface.errors import PlanError, UsageError
from hal.plan import BufferKind, Channel, ChannelKind, Loop, Move, Plan, RankPlan, Signal, Span, Sync, Wait
from hal.reference import run

INPUT, OUTPUT, SCRATCH = BufferKind


def alone(*instructions, chunks=(2, 2, 2), **more):
    """A plan of one rank that is even."""
    rank = RankPlan(*chunks, blocks=(instructions,))
    return Plan("alone", "custom", (rank,), **{"split": 2, "align": 16, "even": True, **more})


def copied(dst, src, **more):
    return Move((dst,), (src,), **more)


def values(count):
    return np.arange(1, count + 1, dtype=np.int32)


@pytest.mark.parametrize("units", [1, 2, 3, 7])
@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_the_parts_of_a_move_make_the_whole(parts, units):
    moves = [copied(Span(OUTPUT, 0, 2), Span(INPUT, 0, 2), part=i, parts=parts) for i in range(parts)]
    x = values(8 * units)
    (output,) = run(alone(*moves), [x]).outputs
    assert (output == x).all()


def test_a_part_is_cut_as_a_count_is():
    move = copied(Span(OUTPUT, 0, 2), Span(INPUT, 0, 2), part=0, parts=3)
    x = values(8 * 2)  # four units of 16 bytes: two, one and one
    (output,) = run(alone(move), [x]).outputs
    assert (output[:8] == x[:8]).all()
    assert (output.view(np.uint8)[32:] == 0xA1).all()


def test_scratch_is_dense_and_moves_may_be_of_scratch_alone():
    plan = alone(
        copied(Span(SCRATCH, 0, 2), Span(INPUT, 0, 2)),
        Sync(),
        copied(Span(SCRATCH, 2), Span(SCRATCH, 1)),
        Sync(),
        copied(Span(OUTPUT, 0), Span(SCRATCH, 2)),
        copied(Span(OUTPUT, 1), Span(SCRATCH, 0)),
        chunks=(2, 2, 3),
    )
    x = values(24)
    (output,) = run(plan, [x]).outputs
    assert (output == np.concatenate([x[12:], x[:12]])).all()


def test_a_count_that_cannot_be_cut_evenly_is_refused():
    plan = alone(copied(Span(OUTPUT, 0), Span(INPUT, 0)))
    with pytest.raises(UsageError, match="allowed are multiples of 8, the nearest are 8 and 16"):
        run(plan, [values(12)])


def looped(slots, *, parts=1, scratch_chunk_bytes=None):
    moves = []
    for part in range(parts):
        loop = Loop(
            64,
            (
                copied(Span(SCRATCH, 0, 2), Span(INPUT, 0, 2), part=part, parts=parts),
                Sync(),
                copied(Span(OUTPUT, 0, 2), Span(SCRATCH, 0, 2), part=part, parts=parts),
            ),
            slots,
        )
        moves.append(loop)
    return alone(*moves, scratch_chunk_bytes=scratch_chunk_bytes)


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("count", [8, 40, 72, 200])
def test_a_loop_without_slots_uses_scratch_as_long_as_the_data(count, parts):
    x = values(count)
    result = run(looped(0, parts=parts), [x])
    assert (result.outputs[0] == x).all()
    assert (result.scratch[0][: x.nbytes] == x.view(np.uint8)).all()


def test_a_loop_of_scratch_alone_runs_as_many_pieces_as_its_operands_have():
    inner = copied(Span(SCRATCH, 1), Span(SCRATCH, 0))
    plan = alone(
        copied(Span(SCRATCH, 0), Span(INPUT, 0)),
        Loop(64, (inner,), slots=0),
        copied(Span(OUTPUT, 1), Span(SCRATCH, 1)),
        copied(Span(OUTPUT, 0), Span(INPUT, 0)),
    )
    x = values(200)
    (output,) = run(plan, [x]).outputs
    assert (output == np.concatenate([x[:100], x[:100]])).all()


def test_scratch_of_a_given_length_is_no_longer_than_the_data():
    x = values(200)
    assert (run(looped(1, scratch_chunk_bytes=64), [x]).outputs[0] == x).all()
    assert len(run(looped(2, scratch_chunk_bytes=4096), [x]).scratch[0]) == 2 * x.nbytes


def test_a_part_in_a_ring_has_to_fit_behind_what_lies_before_it():
    plan = looped(1, parts=2, scratch_chunk_bytes=64)
    assert (run(plan, [values(32)]).outputs[0] == values(32)).all()
    with pytest.raises(PlanError, match="do not fit into 2 scratch chunks of 64 bytes"):
        run(plan, [values(200)])


def switched():
    """all_reduce: each rank reduces its chunk of all outputs over the switch, and stores it to all."""
    group = Channel(ChannelKind.SWITCH, (0, 1, 2))
    peers = [Channel(ChannelKind.MEMORY, (p,)) for p in range(3)]
    ranks = []
    for rank in range(3):
        others = (1, 2)
        chunk = Span(OUTPUT, rank, switch=0)
        block = (
            Signal(others),
            Wait(others),
            Move((chunk,), (chunk,), final=True),
            Signal(others),
            Wait(others),
        )
        channels = (group, *(peers[p] for p in range(3) if p != rank))
        ranks.append(RankPlan(3, 3, 0, (block,), channels))
    return Plan("switched", "all_reduce", tuple(ranks), split=3, align=16, even=True, aliased=True)


@pytest.mark.parametrize("seed", range(8))
def test_a_switch_reduces_over_its_group_and_stores_to_all_of_it(seed):
    inputs = [np.random.default_rng(rank).integers(-99, 99, 36).astype(np.int32) for rank in range(3)]
    result = run(switched(), inputs, schedule=seed, max_pieces=3, launches=3)
    assert all((output == sum(inputs)).all() for outputs in result.launches for output in outputs)
    # the input is the output, whatever is said
    assert all((x == sum(inputs)).all() for x in result.inputs)
    averages = run(switched(), inputs, op="avg", schedule=seed).outputs
    assert (averages[0] == np.trunc(sum(inputs) / 3)).all()


def test_an_aliased_plan_shares_the_ranks_block_of_the_longer_buffer():
    ranks = tuple(RankPlan(1, 2, 0, ()) for _ in range(2))
    plan = Plan("gather", "all_gather", ranks, align=16, even=True, aliased=True)
    inputs = [values(4), values(4) * 10]
    for rank, output in enumerate(run(plan, inputs).outputs):
        assert (output[4 * rank : 4 * rank + 4] == inputs[rank]).all()
    ranks = tuple(RankPlan(2, 1, 0, ()) for _ in range(2))
    scatter = dataclasses.replace(plan, collective="reduce_scatter", ranks=ranks)
    inputs = [values(8), values(8) * 10]
    for rank, output in enumerate(run(scatter, inputs).outputs):
        assert (output == inputs[rank][4 * rank : 4 * rank + 4]).all()
