"""Plans and topologies whose times are worked out by hand: 1 GB/s and 1 µs, megabytes of float32."""

from hal.plan import PlanBuilder
from hal.plan.simulate import Compute, Topology, simulate

BANDWIDTH = 1e9
LATENCY = 1e-6
MEGABYTE = 1_000_000
COUNT = MEGABYTE // 4
SECONDS = MEGABYTE / BANDWIDTH


def star(ranks, compute=None, latency=LATENCY / 2):
    """All ranks on one switch; a message takes the latency of two links."""
    topology = Topology(ranks, compute or Compute())
    hub = topology.add_switch("hub")
    for rank in range(ranks):
        topology.connect(rank, hub, BANDWIDTH, latency)
    return topology


def custom(ranks, **details):
    return PlanBuilder("custom", name="made", ranks=ranks, input_chunks=1, output_chunks=1, **details)


def put(plan, source, target, block=None):
    """One rank's input to another's output, with a signal."""
    block = block or plan.ranks[source].block()
    block.copy(plan.ranks[target].output[0], plan.ranks[source].input[0])
    block.signal([plan.ranks[target]], channel=0)
    plan.ranks[target].block().wait([plan.ranks[source]], channel=0)


def ring(ranks):
    """reduce-scatter and all-gather round a ring, in one piece."""
    p = PlanBuilder("all_reduce", name="ring", ranks=ranks, split=ranks)
    for rank in p.ranks:
        block = rank.block()
        before, after = p.ranks[rank.id - 1], p.ranks[(rank.id + 1) % ranks]
        block.copy(after.scratch[0], rank.input[rank.id])
        for step in range(1, 2 * ranks - 1):
            block.signal([after])
            block.wait([before])
            chunk = (rank.id - step) % ranks
            onward = [after.scratch[step]] if step < 2 * ranks - 2 else []
            kept = [rank.output[chunk]] if step >= ranks - 1 else []
            own = [rank.input[chunk]] if step < ranks else []
            block.reduce([*kept, *onward], [rank.scratch[step - 1], *own])
    return p.build()


def broadcast(ranks):
    """A binomial tree: every rank that has the message sends it on, to the farthest first."""
    p = custom(ranks)
    for rank in p.ranks:
        block = rank.block()
        place = rank.id & -rank.id if rank.id else ranks
        source = rank.output[0] if rank.id else rank.input[0]
        if rank.id:
            block.wait([p.ranks[rank.id - place]])
        while place > 1:
            place //= 2
            child = p.ranks[rank.id + place]
            block.copy(child.output[0], source)
            block.signal([child])
    return p.build()


def seconds(plan, topology, count=COUNT, **options):
    return simulate(plan, topology, count, **options).time


def relay(unit, slots):
    """Rank 0 to rank 2 through rank 1, by pieces."""
    p = PlanBuilder("custom", name="relay", ranks=3, input_chunks=1, output_chunks=1, scratch_chunk_bytes=slots * unit)
    first, second, third = p.ranks
    source, middle, sink = first.block(), second.block(), third.block()
    with source.loop(unit, slots):
        source.copy(second.scratch[0], first.input[0])
        source.signal([second])
    with middle.loop(unit, slots):
        middle.wait([first])
        middle.copy(third.output[0], second.scratch[0])
        middle.signal([third])
    with sink.loop(unit, slots):
        sink.wait([second])
    return p.build()
