"""What a prediction says beside the time, and what is refused."""

import itertools
import math

import pytest

from hal.interface.errors import ConfigError, PlanError, UsageError
from hal.plan import Plan, RankPlan, Signal, Wait
from hal.plan.simulate import Compute, Topology, simulate
from hal.reference import Deadlock

from .simulated import COUNT, LATENCY, custom, relay, ring, star


@pytest.mark.parametrize("ranks", [3, 8])
def test_the_critical_path_is_without_gaps_and_adds_up(ranks):
    compute = Compute(copy=7e9, reduce=5e9, launch=3e-6, overhead=1e-7)
    prediction = simulate(ring(ranks), star(ranks, compute), 8 * COUNT + 5)
    steps = prediction.critical_path
    assert steps[0].start == 0
    assert all(a.end == b.start for a, b in itertools.pairwise(steps))
    assert steps[-1].end == prediction.time
    assert math.fsum(step.seconds for step in steps) == pytest.approx(prediction.time)
    crossing = [step for step in steps if step.text.startswith("wait") and "signal" in step.waited_for]
    assert crossing
    assert all(step.seconds == pytest.approx(LATENCY + 1e-7) for step in crossing)


@pytest.mark.parametrize("count", [0, 1, 999, COUNT])
@pytest.mark.parametrize("merge", [True, False])
def test_links_carry_what_is_sent(count, merge):
    prediction = simulate(ring(5), star(5), count, merge=merge)
    sent = sum(i.nbytes for i in prediction.intervals if i.kind == "move" and i.peer is not None)
    assert sent == 2 * 4 * count * 4
    carried = [(name, load.carried) for load in prediction.loads for name in load.names]
    assert sum(nbytes for name, nbytes in carried if name.startswith("hub")) == sent
    assert sum(nbytes for name, nbytes in carried if name.endswith("hub")) == sent
    assert all(load.utilisation <= 1 + 1e-9 for load in prediction.loads)


def test_intervals_of_a_block_follow_each_other():
    prediction = simulate(ring(4), star(4), COUNT)
    for rank in range(4):
        own = sorted((i for i in prediction.intervals if i.rank == rank), key=lambda i: (i.start, i.path))
        assert [i.path for i in own] == [(n,) for n in range(len(own))]
        assert all(a.end == b.start for a, b in itertools.pairwise(own))
    assert {i.rank for i in prediction.timeline([2]).intervals} == {2}


def test_a_deadlock_is_an_error():
    p = custom(2)
    for rank in p.ranks:
        block = rank.block()
        block.wait(rank.others)
        block.signal(rank.others)
    with pytest.raises(Deadlock, match=r"rank 1, block 0.*wait 0.*expected 1, seen 0") as caught:
        simulate(p.build(), star(2), COUNT, merge=False)
    assert [(stall.rank, stall.peer) for stall in caught.value.stalls] == [(0, 1), (1, 0)]


def test_blocks_that_stall_alike_are_named_once():
    p = custom(2)
    for rank in p.ranks:
        block = rank.block()
        block.wait(rank.others)
        block.signal(rank.others)
    with pytest.raises(Deadlock) as caught:
        simulate(p.build(), star(2), COUNT)
    assert len(caught.value.stalls) == 1


@pytest.mark.parametrize("what", ["packets", "semaphore", "barrier"])
def test_deadlocks_of_other_kinds(what):
    p = custom(1)
    rank = p.ranks[0]
    first, second = rank.block(), rank.block()
    if what == "packets":
        first.copy(rank.output[0], rank.scratch[0].packets)
    elif what == "semaphore":
        first.acquire(rank.semaphore())
    else:
        taken = rank.semaphore()
        first.acquire(taken)
        first.barrier(0, 2)
        second.barrier(0, 2)
        second.release(taken)
    with pytest.raises(Deadlock, match=what):
        simulate(p.build(), Topology(1), COUNT)


def test_what_cannot_be_simulated_is_refused():
    plan = ring(4)
    with pytest.raises(UsageError, match="for 4 ranks, but topology has 3"):
        simulate(plan, star(3), COUNT)
    with pytest.raises(ConfigError, match="no way leads from rank 0 to rank 1"):
        simulate(plan, Topology(4), COUNT)
    with pytest.raises(UsageError, match="0 and more"):
        simulate(plan, star(4), -1)
    with pytest.raises(UsageError, match="unknown dtype"):
        simulate(plan, star(4), 1, "float99")
    with pytest.raises(UsageError, match=r"takes 6442450944 instructions .* allowed are"):
        simulate(relay(64, 1), star(3), 1 << 34)
    with pytest.raises(UsageError, match="no rank 4"):
        simulate(plan, star(4), COUNT).timeline([4])
    broken = Plan("broken", "custom", (RankPlan(1, 1, 0, ((Wait((0,)), Signal((3,))),)),))
    with pytest.raises(PlanError, match="broken"):
        simulate(broken, Topology(1), COUNT)
