"""The simulator against times worked out by hand."""

import math

import pytest

from hal.plan import Channel, ChannelKind, Layout, Move, Plan, PlanBuilder, RankPlan, Span
from hal.plan.lower import loop_pieces
from hal.plan.model import BufferKind
from hal.plan.simulate import Compute, Topology, simulate
from hal.plan.simulate.program import compile_plan
from hal.plan.simulate.sharing import Sharing

from .simulated import BANDWIDTH, COUNT, LATENCY, MEGABYTE, SECONDS, broadcast, custom, put, relay, ring, seconds, star


def test_a_message_takes_latency_and_bytes():
    p = custom(2)
    put(p, 0, 1)
    prediction = simulate(p.build(), star(2), COUNT)
    assert prediction.time == pytest.approx(LATENCY + SECONDS)
    assert prediction.algbw == pytest.approx(MEGABYTE / prediction.time)
    assert prediction.nbytes == MEGABYTE


def test_a_load_waits_for_a_round_trip():
    p = custom(2)
    p.ranks[1].block().copy(p.ranks[1].output[0], p.ranks[0].input[0])
    assert seconds(p.build(), star(2)) == pytest.approx(2 * LATENCY + SECONDS)


def test_every_instruction_has_its_own_time():
    compute = Compute(launch=5e-6, overhead=1e-6, signal=2e-6, wait=3e-6, sync=4e-6)
    p = custom(2)
    block = p.ranks[0].block()
    block.sync()
    put(p, 0, 1, block)
    # launch, sync, move, signal, wait
    own = 5e-6 + (1e-6 + 4e-6) + (1e-6 + SECONDS) + (1e-6 + 2e-6) + (1e-6 + 3e-6)
    assert seconds(p.build(), star(2, compute)) == pytest.approx(own + LATENCY)


def test_a_block_copies_and_reduces_at_its_own_rate():
    p = custom(1)
    rank = p.ranks[0]
    rank.block().reduce([rank.output[0], rank.scratch[0]], [rank.input[0], rank.scratch[1], rank.scratch[2]])
    topology = Topology(1, Compute(copy=2e9, reduce=4e9))
    assert seconds(p.build(), topology) == pytest.approx(2 * MEGABYTE / 2e9 + 2 * MEGABYTE / 4e9)


def test_the_slower_of_block_and_link_counts():
    p = custom(2)
    put(p, 0, 1)
    plan = p.build()
    assert seconds(plan, star(2, Compute(copy=1e8))) == pytest.approx(LATENCY + MEGABYTE / 1e8)
    assert seconds(plan, star(2, Compute(copy=1e10))) == pytest.approx(LATENCY + SECONDS)


def test_a_chain_adds_up():
    p = custom(4)
    for rank in p.ranks:
        block = rank.block()
        if rank.id:
            block.wait([p.ranks[rank.id - 1]])
        if rank.id < 3:
            source = rank.scratch[0] if rank.id else rank.input[0]
            target = p.ranks[rank.id + 1]
            block.copy([target.scratch[0], rank.output[0]], source)
            block.signal([target])
    assert seconds(p.build(), star(4)) == pytest.approx(3 * (LATENCY + SECONDS))


@pytest.mark.parametrize("merge", [True, False])
def test_two_flows_share_a_link_fairly(merge):
    p = custom(3)
    put(p, 0, 2)
    put(p, 1, 2)
    prediction = simulate(p.build(), star(3), COUNT, merge=merge)
    assert prediction.time == pytest.approx(LATENCY + 2 * SECONDS)
    loads = {name: load for load in prediction.loads for name in load.names}
    assert loads["hub -> rank 2"].carried == pytest.approx(2 * MEGABYTE)
    assert loads["hub -> rank 2"].utilisation == pytest.approx(2 * SECONDS / prediction.time)
    assert loads["rank 0 -> hub"].carried == pytest.approx(MEGABYTE)
    assert "hub -> rank 0" not in loads


def test_what_a_finished_flow_leaves_the_others_take():
    p = PlanBuilder("custom", name="made", ranks=3, split=4, input_chunks=4, output_chunks=4)
    for source, chunks in ((0, slice(0, 1)), (1, slice(1, 4))):
        p.ranks[source].block().copy(p.ranks[2].output[chunks], p.ranks[source].input[chunks])
    prediction = simulate(p.build(), star(3), 4 * COUNT)
    ends = {i.rank: i.end for i in prediction.intervals}
    # both at half the rate until the first megabyte is through, then two megabytes more at the full one
    assert ends[0] == pytest.approx(2 * SECONDS)
    assert ends[1] == pytest.approx(4 * SECONDS)


def test_rates_are_max_min_fair():
    """Flow 0 uses the narrow link, 1 both, 2 the wide one (Bertsekas and Gallager's example)."""
    sharing = Sharing([1.0, 2.0])
    for number, usage in enumerate([[(0, 1.0)], [(0, 1.0), (1, 1.0)], [(1, 1.0)]]):
        sharing.start(number, usage, math.inf, 3.0, 0.0)
    assert {flow: end for end, flow, _ in sharing.settle(0.0)} == pytest.approx({0: 6.0, 1: 6.0, 2: 2.0})
    sharing.finish(2)
    assert list(sharing.settle(2.0)) == []
    sharing.finish(0)
    sharing.start(3, [(0, 1.0)], 0.25, 1.0, 6.0)
    assert [(end, flow) for end, flow, _ in sharing.settle(6.0)] == [(10.0, 3), (6.0, 1)]


def test_a_flow_that_is_slow_by_itself_leaves_the_rest_to_others():
    sharing = Sharing([10.0])
    sharing.start(0, [(0, 1.0)], 2.0, 8.0, 0.0)
    sharing.start(1, [(0, 1.0)], math.inf, 8.0, 0.0)
    assert {flow: end for end, flow, _ in sharing.settle(0.0)} == pytest.approx({0: 4.0, 1: 1.0})


def test_directions_of_a_half_duplex_link_share_it():
    p = custom(2)
    put(p, 0, 1)
    put(p, 1, 0)
    plan = p.build()
    for duplex, times in (("full", 1), ("half", 2)):
        topology = Topology(2)
        topology.connect(0, 1, BANDWIDTH, LATENCY, duplex)
        assert seconds(plan, topology) == pytest.approx(LATENCY + times * SECONDS)


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("merge", [True, False])
def test_ring_all_reduce(ranks, merge):
    prediction = simulate(ring(ranks), star(ranks), 8 * COUNT, merge=merge)
    steps = 2 * (ranks - 1)
    sent = prediction.nbytes / ranks
    # the last step keeps what it got, and takes no time here
    assert prediction.time == pytest.approx(steps * (LATENCY + sent / BANDWIDTH))
    assert prediction.simulated == (1 if merge else ranks)
    assert prediction.busbw == pytest.approx(BANDWIDTH, rel=0.02)


@pytest.mark.parametrize("ranks", [2, 8, 16])
def test_a_binomial_tree_takes_log_n_steps(ranks):
    steps = int(math.log2(ranks))
    assert seconds(broadcast(ranks), star(ranks), 0) == pytest.approx(steps * LATENCY)
    assert seconds(broadcast(ranks), star(ranks)) == pytest.approx(steps * (LATENCY + SECONDS))


def test_loops_pipeline():
    unit, pieces = 64_000, 10
    plan = relay(unit, pieces)
    prediction = simulate(plan, star(3, latency=0), unit * pieces // 4)
    assert prediction.time == pytest.approx((pieces + 1) * unit / BANDWIDTH)
    assert len([i for i in prediction.intervals if i.rank == 1 and i.kind == "move"]) == pieces


def test_pieces_are_those_of_lowering():
    plan = relay(1024, 3)
    for count in (0, 1, 255, 256, 257, 5000):
        layout = Layout.uniform(plan, count, 4)
        assert compile_plan(plan, layout, star(3)).pieces == loop_pieces(plan, layout)


def test_the_last_piece_is_shorter():
    plan = relay(64_000, 10)
    prediction = simulate(plan, star(3), (64_000 * 3 + 400) // 4)
    moved = [i.nbytes for i in prediction.intervals if i.rank == 0 and i.kind == "move"]
    assert moved == [64_000, 64_000, 64_000, 400]
    assert [i.path for i in prediction.intervals if i.rank == 0][:3] == [(0, 0), (0, 1), (0, 0)]


def test_packets_need_no_signal_and_carry_twice_the_bytes():
    p = custom(2)
    first, second = p.ranks
    first.block().copy(second.scratch[0].packets, first.input[0])
    second.block().copy(second.output[0], second.scratch[0].packets)
    prediction = simulate(p.build(), star(2), COUNT)
    assert prediction.time == pytest.approx(LATENCY + 2 * SECONDS)
    assert [step.rank for step in prediction.critical_path] == [0, 1]
    assert prediction.loads[0].carried == pytest.approx(2 * MEGABYTE)


def test_posts_run_beside_the_block_one_after_the_other():
    p = custom(3)
    first, second, third = p.ranks
    block = first.block()
    for target in (second, third, second):
        block.post(target.output[0], first.input[0], signal=True)
    block.copy(first.output[0], first.input[0])
    block.flush(second)
    second.block().wait([first], port=True)
    second.blocks[0].wait([first], port=True)
    third.block().wait([first], port=True)
    prediction = simulate(p.build(), star(3, Compute(copy=1e10, overhead=1e-6)), COUNT)
    intervals = prediction.intervals
    copy = next(i for i in intervals if i.kind == "move")
    assert copy.start == pytest.approx(3e-6)
    assert copy.end == pytest.approx(3e-6 + 1e-6 + MEGABYTE / 1e10)
    # the deliveries to both peers share the way out: a megabyte to each by 2 ms, then one more
    arrived = {(i.rank, i.path): i.end for i in intervals if i.kind == "wait"}
    assert arrived[1, (1,)] == pytest.approx(1e-6 + 3 * SECONDS + LATENCY + 1e-6)
    assert prediction.time == pytest.approx(1e-6 + 3 * SECONDS + 2 * LATENCY + 1e-6)
    deliveries = [i for i in intervals if i.port is not None]
    assert sorted(i.nbytes for i in deliveries) == [MEGABYTE] * 3
    assert sum(step.seconds for step in prediction.critical_path) == pytest.approx(prediction.time)


def test_a_post_that_nobody_waits_for_still_has_to_arrive():
    p = custom(2)
    p.ranks[0].block().post(p.ranks[1].output[0], p.ranks[0].input[0])
    prediction = simulate(p.build(), star(2), COUNT)
    assert prediction.time == pytest.approx(SECONDS + LATENCY)
    assert prediction.critical_path[-1].port == 0
    assert sum(step.seconds for step in prediction.critical_path) == pytest.approx(prediction.time)


def test_a_post_that_flushes_waits_for_the_acknowledgement():
    p = custom(2)
    block = p.ranks[0].block()
    block.post(p.ranks[1].output[0], p.ranks[0].input[0], flush=True)
    block.sync()
    prediction = simulate(p.build(), star(2), COUNT)
    assert prediction.time == pytest.approx(SECONDS + 2 * LATENCY)
    assert sum(step.seconds for step in prediction.critical_path) == pytest.approx(prediction.time)


def test_blocks_meet_at_barriers_and_hand_over_semaphores():
    compute = Compute(copy=1e9, barrier=5e-6)
    p = custom(1)
    rank = p.ranks[0]
    full = rank.semaphore()
    slow, quick, last = rank.block(), rank.block(), rank.block()
    slow.copy(rank.output[0], rank.input[0])
    slow.barrier(0, 2)
    quick.barrier(0, 2)
    quick.release(full)
    last.acquire(full)
    prediction = simulate(p.build(), Topology(1, compute), COUNT)
    assert prediction.time == pytest.approx(SECONDS + 5e-6)
    assert next((s.block, s.text.split()[0]) for s in prediction.critical_path) == (0, "move")
    assert sum(step.seconds for step in prediction.critical_path) == pytest.approx(prediction.time)


def switch_plan(load):
    """Rank 0 stores to all three through the switch, or reads the sum of all."""
    everyone = Span(BufferKind.INPUT if load else BufferKind.OUTPUT, 0, switch=0)
    own = Span(BufferKind.OUTPUT if load else BufferKind.INPUT, 0)
    move = Move((own,), (everyone,)) if load else Move((everyone,), (own,))
    group = Channel(ChannelKind.SWITCH, (0, 1, 2))
    blocks = [((move,),), (), ()]
    return Plan("switch", "custom", tuple(RankPlan(1, 1, 0, each, (group,)) for each in blocks))


def test_a_switch_carries_every_byte_once():
    there = simulate(switch_plan(load=False), star(3), COUNT)
    assert there.time == pytest.approx(SECONDS)
    assert {name: load.carried for load in there.loads for name in load.names} == {
        "rank 0 -> hub": MEGABYTE,
        "hub -> rank 1": MEGABYTE,
        "hub -> rank 2": MEGABYTE,
    }
    back = simulate(switch_plan(load=True), star(3), COUNT)
    assert back.time == pytest.approx(SECONDS + 2 * LATENCY)
    assert {name for load in back.loads for name in load.names} == {"rank 1 -> hub", "rank 2 -> hub", "hub -> rank 0"}


def test_processors_and_memory_are_shared():
    p = custom(4)
    for rank in p.ranks:
        rank.block().copy(rank.output[0], rank.input[0])
    plan = p.build()
    topology = Topology(4, Compute(copy=1e9))
    topology.share_processors(range(4), 2)
    prediction = simulate(plan, topology, COUNT)
    assert prediction.time == pytest.approx(2 * SECONDS)
    assert prediction.loads[0].utilisation == pytest.approx(1.0)
    # a byte copied is one read and one written
    assert seconds(plan, Topology(4, Compute(copy=1e9, memory=1e9))) == pytest.approx(2 * SECONDS)
