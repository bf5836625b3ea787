"""Schedules bring races to light: a plan with one differs under some seed, a right one never."""

import numpy as np
import pytest

from hal.interface.errors import UsageError
from hal.plan import PlanBuilder
from hal.reference import run

SEEDS = range(30)


def outcomes(plan, inputs, **options):
    """All results of the random schedules, over all launches."""
    results = [run(plan, inputs, schedule=seed, **options) for seed in SEEDS]
    return {b"".join(o.tobytes() for o in outputs) for result in results for outputs in result.launches}


def all_gather(first_meeting=True, last_meeting=True):
    p = PlanBuilder("all_gather", name="direct", ranks=3)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        block.copy(rank.output[rank.id], rank.input[0])
        if first_meeting:
            block.signal(rank.others)
            block.wait(rank.others)
        for other in rank.others:
            block.copy(rank.output[other.id], other.scratch[0])
        if last_meeting:
            block.signal(rank.others)
            block.wait(rank.others)
    return p.build()


def test_a_right_plan_has_one_outcome(numbers):
    plan = all_gather(last_meeting=False)
    assert outcomes(plan, numbers(3, 40), max_pieces=5, launches=3) == {
        np.concatenate(numbers(3, 40)).tobytes() * 3,
    }


def test_reading_before_it_is_written_shows(numbers):
    expected = np.concatenate(numbers(3, 40)).tobytes() * 3
    wrong = outcomes(all_gather(first_meeting=False), numbers(3, 40)) - {expected}
    assert wrong
    assert any(b"\xa1\xa1\xa1\xa1" in outcome for outcome in wrong)


def test_two_blocks_that_add_to_the_same_chunk_lose_an_update(numbers):
    p = PlanBuilder("all_reduce", name="lost", ranks=1)
    (rank,) = p.ranks
    setup, one, two = rank.block(), rank.block(), rank.block()
    setup.copy(rank.output[0], rank.input[0])
    for block in (setup, one, two):
        block.barrier(0, 3)
    for block in (one, two):
        block.reduce(rank.output[0], [rank.output[0], rank.input[0]])
    (data,) = numbers(1, 16)
    assert {(3 * data).tobytes(), (2 * data).tobytes()} <= outcomes(p.build(), [data])


def test_pieces_let_others_see_half_of_a_move(numbers):
    p = PlanBuilder("all_reduce", name="torn", ranks=1, split=2)
    (rank,) = p.ranks
    one, two = rank.block(), rank.block()
    one.copy(rank.scratch[0:2], rank.input[0:2])
    two.copy(rank.output[0:2], rank.scratch[0:2])
    (data,) = numbers(1, 64)
    whole = outcomes(p.build(), [data])
    torn = outcomes(p.build(), [data], max_pieces=8)
    assert len(whole) == 2
    assert len(torn) > 2


def test_leaving_while_others_still_read_shows_when_launches_follow(numbers):
    """Rank 0 leaves without waiting for those that read its output, and begins the next launch."""
    p = PlanBuilder("broadcast", name="early", ranks=2, root=0)
    root, other = p.ranks
    block = root.block()
    block.copy(root.output[0], root.input[0])
    block.signal([other])
    block = other.block()
    block.wait([root])
    block.copy(other.output[0], root.output[0])
    plan = p.build()
    (data, _) = numbers(2, 16)
    inputs = [data, data[:0]]
    right = (data.tobytes()) * 2
    assert outcomes(plan, inputs) == {right}
    assert outcomes(plan, inputs, launches=3) > {right}


def test_a_rank_runs_one_launch_ahead_of_others_and_no_more(numbers):
    p = PlanBuilder("custom", name="apart", ranks=3, input_chunks=1, output_chunks=1)
    for rank in p.ranks:
        rank.block().copy(rank.output[0], rank.input[0])
    at = [0, 0, 0]
    ahead = set()

    def eager(ready):
        """Rank 0 goes whenever it can."""
        chosen = min(ready, key=lambda task: task.rank)
        if chosen.kind == "block":
            at[chosen.rank] = chosen.launch
            ahead.add(at[0] - min(at))
        return chosen

    result = run(p.build(), numbers(3, 4), schedule=eager, launches=6)
    assert len(result.launches) == 6
    assert at == [6, 6, 6]
    # a rank that is still to take its first step of launch k+1 stands at launch k
    assert max(ahead) == 2


def test_a_schedule_may_be_chosen(numbers):
    p = PlanBuilder("all_reduce", name="race", ranks=1)
    (rank,) = p.ranks
    for _ in range(2):
        rank.block()
    rank.blocks[0].copy(rank.scratch[0], rank.input[0])
    rank.blocks[1].copy(rank.output[0], rank.scratch[0])
    (data,) = numbers(1, 8)
    in_order = run(p.build(), [data], schedule=lambda ready: ready[0])
    reverse = run(p.build(), [data], schedule=lambda ready: ready[-1])
    np.testing.assert_array_equal(in_order.outputs[0], data)
    assert set(reverse.outputs[0].tobytes()) == {0xA1}


def test_a_schedule_chooses_among_those_that_can_go_on(numbers):
    p = PlanBuilder("all_reduce", name="p", ranks=1)
    p.ranks[0].block().copy(p.ranks[0].output[0], p.ranks[0].input[0])
    with pytest.raises(UsageError, match="the schedule chose None"):
        run(p.build(), numbers(1, 4), schedule=lambda ready: None)


def test_a_seed_repeats(numbers):
    plan = all_gather(first_meeting=False)
    for seed in SEEDS:
        one, two = (run(plan, numbers(3, 40), schedule=seed, max_pieces=3) for _ in range(2))
        assert [o.tobytes() for o in one.outputs] == [o.tobytes() for o in two.outputs]
