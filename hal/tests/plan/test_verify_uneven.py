"""Plans that are right for equal counts and wrong where the counts of ranks differ.

Each wrong one is proven for equal counts, refused for others, and some layout shows the reference going wrong.
"""

import dataclasses

import numpy as np
import pytest

from hal.plan import PlanBuilder
from hal.plan.collective import Collective
from hal.plan.findings import Code
from hal.plan.verify import verify

from .attacking import UNIT
from .lengths import builder, is_right, is_right_for_equal_counts_alone, only_uneven, outcomes, wanted
from .verifying import exchange

# -- what lengths the operands have


@pytest.mark.parametrize("lengths", [(3, 5), (0, 7), (7, 0)])
def test_operands_that_are_different_blocks(lengths):
    p = builder()
    a, b = p.ranks
    for rank in (a, b):
        block = rank.block()
        block.copy(rank.output[rank.id], rank.input[0])
        # rank 1 stores its block where that of rank 0 will be, to find room for it in scratch
        block.copy([rank.output[1 - rank.id], rank.scratch[0]], rank.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
        block.copy(rank.output[1 - rank.id], rank.others[0].scratch[0])
    findings = is_right_for_equal_counts_alone(p.build(), lengths)
    only_uneven(findings, "operands are the block of rank 0 and the block of rank 1, which may differ in length")
    assert "move output[1], scratch[0] <- input[0]" in str(findings[0])


def relayed(scratch_for):
    """Rank 0 has what rank 1 sent it copied once more in scratch, by a move as long as the block of `scratch_for`."""
    p = builder()
    a, b = p.ranks
    one, two = a.block(), b.block()
    one.copy(a.output[0], a.input[0])
    one.copy(b.scratch[0], a.input[0])
    one.signal([b])
    two.copy(b.output[1], b.input[0])
    two.copy(a.scratch[0], b.input[0])
    two.signal([a])
    one.wait([b])
    two.wait([a])
    one.copy([a.scratch[1], a.output[scratch_for]], a.scratch[0])
    one.sync()
    one.copy(a.output[1], a.scratch[1])
    one.copy(a.output[0], a.input[0])
    two.copy(b.output[0], b.scratch[0])
    return p.build()


@pytest.mark.parametrize("lengths", [(3, 5), (0, 1), (1, 200)])
def test_scratch_stored_for_a_shorter_block_than_it_is_read_for(lengths):
    findings = is_right_for_equal_counts_alone(relayed(0), lengths)
    only_uneven(findings, "are read for the block of rank 0 and stored for the block of rank 1")
    is_right(relayed(1), lengths, lengths[::-1], (0, 0))


def test_a_rare_order_of_three_lengths():
    """What a block reads was stored for it, then by the next longer ones: wrong where it is neither first nor last."""
    p = builder(ranks=3)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.output[rank.id], rank.input[0])
        for other in rank.others:
            block.copy(other.scratch[rank.id], rank.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
        for other in rank.others:
            block.copy(rank.output[other.id], rank.scratch[other.id])
        if rank.id == 1:
            block.sync()
            # the same data once more, then garbage of another rank's length, then the data by way of a third's
            block.copy([rank.scratch[3], rank.output[0]], rank.scratch[0])
            block.sync()
            block.copy([rank.scratch[3], rank.output[2]], rank.scratch[2])
            block.sync()
            block.copy([rank.scratch[3], rank.output[1]], rank.scratch[0])
            block.sync()
            block.copy(rank.output[0], rank.scratch[3])
            block.copy(rank.output[1], rank.input[0])
    plan = p.build()
    findings = is_right_for_equal_counts_alone(plan, (3, 1, 2))
    only_uneven(findings, "which may differ in length")
    assert outcomes(plan, (1, 2, 3)) == wanted(plan, (1, 2, 3))


def test_packets_that_never_come():
    p = builder()
    a, b = p.ranks
    one, two = a.block(), b.block()
    one.copy(a.output[0], a.input[0])
    one.copy(b.scratch[0].packets, a.input[0])
    two.copy(a.scratch[1].packets, b.input[0])
    one.copy(a.output[1], a.scratch[1].packets)
    # as much as the block of rank 1 has is awaited of the block of rank 0
    two.copy([b.output[1], b.scratch[2]], b.scratch[0].packets)
    two.sync()
    two.copy(b.output[0], b.scratch[2])
    two.copy(b.output[1], b.input[0])
    plan = p.build()
    findings = is_right_for_equal_counts_alone(plan, (3, 8))
    only_uneven(findings, "packets in scratch of rank 1")
    assert "Deadlock" in outcomes(plan, (3, 8), seeds=1)


def ranges(*, whole):
    """An all_gather in which rank 2 gets two blocks at once, from one range of scratch or from each chunk of it."""
    p = builder(ranks=3)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.output[rank.id], rank.input[0])
        for other in rank.others:
            block.copy(other.scratch[rank.id], rank.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
        for other in rank.others:
            block.copy(rank.output[other.id], rank.scratch[other.id])
        block.sync()
        block.copy(rank.scratch[3:5], rank.output[0:2])
        block.sync()
        if whole:
            block.copy(rank.output[0:2], rank.scratch[3:5])
        else:
            block.copy(rank.output[1:3], rank.scratch[3:5])
            block.sync()
            for other in p.ranks:
                block.copy(rank.output[other.id], rank.input[0] if other is rank else rank.scratch[other.id])
    return p.build()


def test_ranges_of_several_blocks():
    is_right(ranges(whole=True), (3, 5, 7), (0, 200, 1), (1, 0, 0))


def test_ranges_of_different_blocks():
    findings = verify(ranges(whole=False), variable=True).findings
    only_uneven(findings, "are read for the blocks of rank 1, of rank 2 and stored for the blocks of rank 0, of rank 1")
    assert verify(ranges(whole=False)).ok


# -- loops


def test_a_block_outside_of_a_loop_that_has_no_piece():
    """The signals of the loop order the block that it does not go through."""

    def plan(alone):
        p = builder()
        a, b = p.ranks
        one, two = a.block(), b.block()
        one.copy(a.output[0], a.input[0])
        two.copy(b.output[1], b.input[0])
        two.copy(a.scratch[0], b.input[0])
        two.signal([a])
        one.copy(b.scratch[1], a.input[0])
        one.signal([b])
        two.wait([a])
        two.copy(b.output[0], b.scratch[1])
        # a second copy of what rank 1 sent, in scratch of rank 0's other block
        one.wait([b])
        helper = a.block()
        if not alone:
            one.barrier(0, 2)
            helper.barrier(0, 2)
        ready = a.semaphore()
        with one.loop(UNIT, slots=0):
            one.copy([a.scratch[2], a.output[0]], a.input[0])
            one.release(ready)
        with helper.loop(UNIT, slots=0):
            helper.acquire(ready)
            helper.copy([a.scratch[3], a.output[0]], a.scratch[2])
        helper.copy(a.output[1], a.scratch[0])
        return p.build()

    is_right(plan(alone=False), (0, 9), (9, 0), (500, 3))
    assert verify(plan(alone=True)).ok
    found = verify(plan(alone=True), variable=True)
    assert {f.code for f in found.findings} <= {Code.DATA_RACE, Code.UNWRITTEN_READ, Code.LAUNCH_ORDER}
    assert not found.ok
    lengths = (0, 9)
    assert outcomes(plan(alone=True), lengths) != wanted(plan(alone=True), lengths)


def test_operands_of_a_loop_that_are_not_all_as_many_blocks():
    """Where all are equal the range is the longest, and has pieces in which the other operand has none."""
    p = builder()
    a, b = p.ranks
    one, two = a.block(), b.block()
    one.copy(a.output[0], a.input[0])
    two.copy(b.output[1], b.input[0])
    one.signal([b])
    two.wait([a])
    two.copy(a.output[1], b.input[0])
    two.signal([a])
    one.wait([b])
    with one.loop(UNIT):
        one.signal([b])
        one.wait([b])
        one.copy(a.scratch[0:2], a.output[0:2])
    with two.loop(UNIT):
        two.wait([a])
        two.copy(b.output[0], a.output[0])
        two.signal([a])
    plan = p.build()
    assert verify(plan).ok, str(verify(plan))
    findings = verify(plan, variable=True).findings
    only_uneven(findings, "loops of unit 256 go through operands of different numbers of blocks")


def test_loops_of_different_units_and_blocks():
    def plan(units):
        p = builder(scratch_chunk_bytes=UNIT)
        a, b = p.ranks
        one, two = a.block(), b.block()
        one.copy(a.output[0], a.input[0])
        two.copy(b.output[1], b.input[0])
        for unit, (source, here), (target, there) in zip(
            units, ((a, one), (b, two)), ((b, two), (a, one)), strict=True
        ):
            with here.loop(unit):
                here.copy(target.scratch[0], source.input[0])
                here.signal([target])
                here.wait([target])
            with there.loop(unit):
                there.wait([source])
                there.copy(target.output[source.id], target.scratch[0])
                there.signal([source])
        return p.build()

    is_right(plan((UNIT, UNIT)), (200, 0), (0, 200), (70, 300))
    assert verify(plan((UNIT, UNIT // 2))).ok
    only_uneven(verify(plan((UNIT, UNIT // 2)), variable=True).findings, "loops of different units")


# -- what is not served at all


def test_parts():
    p = builder()
    for rank in p.ranks:
        for part in range(2):
            block = rank.block()
            block.copy([rank.output[rank.id], rank.scratch[0]], rank.input[0], part=(part, 2))
            block.signal(rank.others)
            block.wait(rank.others)
            block.copy(rank.output[1 - rank.id], rank.others[0].scratch[0], part=(part, 2))
    assert verify(p.build()).ok
    only_uneven(verify(p.build(), variable=True).findings, "a move in parts")


def test_a_collective_without_variable_counts():
    only_uneven(verify(exchange(), variable=True).findings, "all_reduce has no form of variable counts")


@pytest.mark.parametrize(
    ("options", "message"), [({"split": 2}, "are cut into 2 chunks each"), ({"even": True}, "are all equally long")]
)
def test_blocks_that_are_not_one_chunk_of_any_length(options, message):
    p = builder(ranks=1, **options)
    (rank,) = p.ranks
    chunks = options.get("split", 1)
    rank.block().copy(rank.output[0:chunks], rank.input[0:chunks])
    assert verify(p.build()).ok
    only_uneven(verify(p.build(), variable=True).findings, message)


def test_all_to_all_in_place():
    p = builder("all_to_all", ranks=1, in_place=True)
    (rank,) = p.ranks
    rank.block().copy(rank.output[0], rank.input[0])
    plan = p.build()
    assert verify(plan).scope.sharings == ("apart", "in place")
    assert verify(plan, variable=True).scope.sharings == ("apart",)
    aliased = dataclasses.replace(plan, aliased=True)
    assert verify(aliased).ok
    only_uneven(verify(aliased, variable=True).findings, "input and output share memory")


# -- what is said of it


def test_a_plan_of_a_variable_collective_is_always_examined_so():
    plan = relayed(0)
    assert verify(plan).scope.variable is False
    named = dataclasses.replace(plan, collective="all_gather_v")
    assert not verify(named).ok
    right = verify(dataclasses.replace(relayed(1), collective="all_gather_v"))
    assert right.ok
    assert right.scope.variable
    assert "equal and different counts" in str(right)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("collective", ["all_to_all", "reduce_scatter", "gather", "scatter"])
def test_random_lengths(collective, seed):
    """A publishing plan of each collective, proven, against lengths at random."""
    root = 1 if collective in ("gather", "scatter") else None
    p = PlanBuilder(collective, name="published", ranks=3, root=root, in_place=False)
    for rank in p.ranks:
        block = rank.block()
        blocks = Collective.of(collective).blocks(3, rank.id, root)
        for index in range(blocks[0]):
            block.copy(rank.scratch[index], rank.input[index])
        block.signal(rank.others)
        block.wait(rank.others)
        for index in range(blocks[1]):
            match collective:
                case "all_to_all":
                    block.copy(rank.output[index], p.ranks[index].scratch[rank.id])
                case "reduce_scatter":
                    block.reduce(rank.output[0], [q.scratch[rank.id] for q in p.ranks], final=True)
                case "gather":
                    block.copy(rank.output[index], p.ranks[index].scratch[0])
                case _:
                    block.copy(rank.output[0], p.ranks[1].scratch[rank.id])
    chance = np.random.default_rng(seed)
    shape = (3, 3) if collective == "all_to_all" else (3,)
    is_right(p.build(), (chance.choice([0, 1, 3, 64, 200], shape)).tolist())
