"""Executors on streams: order, arguments, disagreement, graphs."""

from __future__ import annotations

import numpy as np
import pytest

from hal.interface.capability import Capability
from hal.interface.device import Memory
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import NotSupported, UsageError
from hal.interface.executor import Executable
from hal.plan.collective import Collective
from hal_conformance import data, expect, programs
from hal_conformance.rank import TIMEOUT, Rank

clause = pytest.mark.clause
group = pytest.mark.ranks("group", least=2)
everyone = pytest.mark.ranks("group")

COUNT = 200
BYTES = COUNT * 4


def _all_reduce(rank: Rank) -> Executable:
    return rank.load(programs.collective_plan(Collective.ALL_REDUCE, "scratch", rank.size), COUNT, DType.INT32)


def _inputs(rank: Rank) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int32]], bytes]:
    """This rank's part, and what the sum over all is."""
    inputs = data.numbers(rank.random, rank.size, COUNT, DType.INT32)
    return inputs[rank.id], data.reduced(inputs, DType.INT32, ReduceOp.SUM).tobytes()


@clause("HAL-EXE-027")
@everyone
def test_a_call_runs_in_the_order_of_its_stream(rank: Rank) -> None:
    executable, stream = _all_reduce(rank), rank.stream()
    source, target, seen = (rank.allocate(BYTES) for _ in range(3))
    for turn in range(rank.times(40, 8)):
        mine, wanted = _inputs(rank)
        held = rank.to_device(mine)
        rank.device.fill(source.address, 0, BYTES, stream)
        rank.device.copy(source.address, held.address, BYTES, stream)
        rank.delay()
        executable.enqueue(source.address, BYTES, target.address, BYTES, TIMEOUT, stream)
        rank.device.copy(seen.address, target.address, BYTES, stream)
        rank.device.fill(target.address, 0xEE, BYTES, stream)
        stream.synchronize(TIMEOUT)
        executable.check()
        expect.equal(rank.read(seen), wanted, f"the sum, enqueued between copies, turn {turn}")
        rank.device.free(held)


@clause("HAL-EXE-027")
@group
def test_enqueuing_waits_for_nobody(rank: Rank) -> None:
    executable, stream = _all_reduce(rank), rank.stream()
    mine, wanted = _inputs(rank)
    source, target = rank.to_device(mine), rank.allocate(BYTES)
    for late in range(rank.size):
        if rank.id == late:  # only when all others have returned
            rank.exchange()
        executable.enqueue(source.address, BYTES, target.address, BYTES, TIMEOUT, stream)
        if rank.id != late:
            rank.exchange()
        stream.synchronize(TIMEOUT)
        expect.equal(rank.read(target), wanted, f"the sum, where rank {late} comes last")


@clause("HAL-EXE-028")
@group
def test_calls_on_several_streams_run_in_order(rank: Rank) -> None:
    executable = _all_reduce(rank)
    streams = [rank.stream() for _ in range(3)]
    mine = np.full(COUNT, 1, np.int32)
    buffers = [rank.to_device(mine), rank.allocate(BYTES)]
    turns = rank.times(20, 6)
    for turn in range(turns):  # each adds up what the last one left
        source, target = buffers[turn % 2], buffers[1 - turn % 2]
        stream = streams[rank.own_random.randrange(3)]
        executable.enqueue(source.address, BYTES, target.address, BYTES, TIMEOUT, stream)
    for stream in streams:
        stream.synchronize(TIMEOUT)
    value = np.full(COUNT, pow(rank.size, turns, 1 << 32), np.uint32)
    expect.equal(rank.read(buffers[turns % 2]), value.tobytes(), f"what {turns} calls on three streams leave")


@clause("HAL-EXE-029")
@everyone
def test_arguments_that_cannot_be_used(rank: Rank) -> None:
    executable, stream, closed = _all_reduce(rank), rank.stream(), rank.stream()
    closed.close()
    mine, wanted = _inputs(rank)
    a, b = rank.to_device(mine), rank.allocate(BYTES)
    wrong = {
        "a short input": lambda: executable.enqueue(a.address, BYTES - 4, b.address, BYTES, TIMEOUT, stream),
        "a short output": lambda: executable.enqueue(a.address, BYTES, b.address, BYTES - 1, TIMEOUT, stream),
        "a timeout of 0": lambda: executable.enqueue(a.address, BYTES, b.address, BYTES, 0.0, stream),
        "a closed stream": lambda: executable.enqueue(a.address, BYTES, b.address, BYTES, TIMEOUT, closed),
        "what is no stream": lambda: executable.enqueue(a.address, BYTES, b.address, BYTES, TIMEOUT, object()),
    }
    for what, call in wrong.items():
        expect.raises(UsageError, call, what)
    rank.exchange()
    executable.enqueue(a.address, BYTES, b.address, BYTES, TIMEOUT, stream)
    stream.synchronize(TIMEOUT)
    expect.equal(rank.read(b), wanted, "the sum after arguments that were refused")


@clause("HAL-EXE-030")
@group
def test_ranks_that_enqueue_different_calls(rank: Rank) -> None:
    same, stream = _all_reduce(rank), rank.stream()
    plan = programs.collective_plan(Collective.ALL_REDUCE, "scratch", rank.size)
    other = rank.load(plan, COUNT // 2, DType.INT32)
    mine, wanted = _inputs(rank)
    a, b = rank.to_device(mine), rank.allocate(BYTES)
    chosen = other if rank.id == 0 else same
    chosen.enqueue(a.address, BYTES, b.address, BYTES, TIMEOUT, stream)

    def ended() -> None:
        stream.synchronize(TIMEOUT)
        chosen.check()

    expect.raises(UsageError, ended, "ranks that disagree")
    rank.exchange()
    same.enqueue(a.address, BYTES, b.address, BYTES, TIMEOUT, stream)
    stream.synchronize(TIMEOUT)
    expect.equal(rank.read(b), wanted, "the sum after a disagreement")


@clause("HAL-EXE-031")
@everyone
def test_without_the_capability_it_refuses(rank: Rank) -> None:
    executable, stream = _all_reduce(rank), rank.stream()
    mine, wanted = _inputs(rank)
    a, b = rank.to_device(mine), rank.allocate(BYTES)
    if Capability.ENQUEUE not in rank.capabilities:
        call = (a.address, BYTES, b.address, BYTES, TIMEOUT, stream)
        expect.raises(NotSupported, lambda: executable.enqueue(*call), "a call on a stream")
    executable.run(a.address, BYTES, b.address, BYTES, TIMEOUT)
    expect.equal(rank.read(b), wanted, "the sum of a call without a stream")


@clause("HAL-EXE-032")
@everyone
def test_a_graph_of_calls(rank: Rank) -> None:
    executable, stream = _all_reduce(rank), rank.stream()
    source, target = rank.allocate(BYTES), rank.allocate(BYTES)
    rank.device.fill(target.address, 7, BYTES)
    with stream.capture() as graph:
        executable.enqueue(source.address, BYTES, target.address, BYTES, TIMEOUT, stream)
    stream.synchronize(TIMEOUT)
    expect.equal(rank.read(target), b"\7" * BYTES, "the output before the graph is launched")
    for turn in range(rank.times(20, 5)):
        mine, wanted = _inputs(rank)
        rank.write(Memory(source.address, BYTES, rank.device), mine)
        graph.launch(stream)
        stream.synchronize(TIMEOUT)
        executable.check()
        expect.equal(rank.read(target), wanted, f"the sum by launch {turn} of a graph")
    graph.close()
