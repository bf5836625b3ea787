"""Streams and events: order, waiting, deadlines, time."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from hal.interface.device import Memory, Stream
from hal.interface.errors import StallTimeout, UsageError
from hal_conformance import expect
from hal_conformance.data import random_bytes
from hal_conformance.rank import Rank

clause = pytest.mark.clause

LONG = 32 << 20
"""Bytes; filling them takes a moment everywhere."""
AT_ONCE = 1e-6
"""Seconds; no deadline is shorter."""


def _busy(rank: Rank, stream: Stream, times: int = 64) -> Memory:
    """Enqueue work that takes long, and return the memory that it fills, at the end with `times`."""
    memory = rank.allocate(LONG)
    for turn in range(times):
        rank.device.fill(memory.address, (turn + 1) % 256, LONG, stream)
    return memory


@clause("HAL-STR-001", "HAL-STR-002")
def test_work_is_done_in_order(rank: Rank) -> None:
    stream, a, b = rank.stream(), rank.allocate(1000), rank.allocate(1000)
    for turn in range(rank.times(50, 10)):
        model = {a.address: bytearray(1000), b.address: bytearray(1000)}
        for memory in (a, b):
            rank.device.fill(memory.address, 0, 1000, stream)
        for _ in range(60):
            at, length = rank.random.randrange(500), rank.random.randrange(1, 500)
            to, source = (a, b) if rank.random.random() < 0.5 else (b, a)
            if rank.random.random() < 0.5:
                value = rank.random.randrange(256)
                rank.device.fill(to.address + at, value, length, stream)
                model[to.address][at : at + length] = bytes([value]) * length
            else:
                begin = rank.random.randrange(500)
                rank.device.copy(to.address + at, source.address + begin, length, stream)
                model[to.address][at : at + length] = model[source.address][begin : begin + length]
        stream.synchronize(30)
        for name, memory in (("first", a), ("second", b)):
            expect.equal(rank.read(memory), bytes(model[memory.address]), f"the {name} memory after round {turn}")


@clause("HAL-STR-002")
def test_synchronize_waits_for_all(rank: Rank) -> None:
    stream = rank.stream()
    memory = _busy(rank, stream)
    stream.synchronize(60)
    expect.equal(stream.query(), True, "query when synchronize has returned")
    seen = np.frombuffer(rank.read(memory), np.uint8)
    expect.same_bits(seen, np.full(LONG, 64, np.uint8), "memory filled 64 times")


@clause("HAL-STR-003", "HAL-STR-004", "HAL-STR-005")
def test_a_deadline_passes_and_the_stream_goes_on(rank: Rank) -> None:
    stream = rank.stream()
    memory = _busy(rank, stream)
    expect.raises(StallTimeout, lambda: stream.synchronize(AT_ONCE), "synchronize before the work is done")
    expect.equal(stream.query(), False, "query before the work is done")
    rank.device.fill(memory.address, 99, 10, stream)
    stream.synchronize(60)
    expect.equal(stream.query(), True, "query when the work is done")
    expect.equal(rank.read(memory.address, 12), b"\x63" * 10 + b"\x40" * 2, "the memory then")


@clause("HAL-STR-006")
def test_a_stream_without_work_is_done(rank: Rank) -> None:
    stream = rank.stream()
    expect.equal(stream.query(), True, "query of a new stream")
    stream.synchronize(AT_ONCE)


@clause("HAL-STR-007", "HAL-STR-008")
def test_closing(rank: Rank) -> None:
    stream = rank.stream()
    memory = _busy(rank, stream, 8)
    stream.close()
    expect.equal(rank.read(memory.address, 4), b"\x08" * 4, "memory after the stream was closed")
    stream.close()
    fill = partial(rank.device.fill, memory.address, 0, 1, stream)
    copy = partial(rank.device.copy, memory.address, memory.address + 8, 1, stream)
    expect.raises(UsageError, fill, "filling on a closed stream")
    expect.raises(UsageError, copy, "copying on a closed stream")


class _Foreign(Stream):
    """A stream of no device."""

    def synchronize(self, timeout: float) -> None:
        """Nothing."""

    def query(self) -> bool:
        """Nothing."""
        return True

    def close(self) -> None:
        """Nothing."""


@clause("HAL-STR-009")
def test_a_foreign_stream(rank: Rank) -> None:
    memory, stream = rank.allocate(100), _Foreign()
    expect.raises(UsageError, lambda: rank.device.fill(memory.address, 0, 1, stream), "filling on a foreign stream")
    event = rank.device.create_event()
    expect.raises(UsageError, lambda: event.record(stream), "recording on a foreign stream")


@clause("HAL-STR-011")
def test_streams_do_not_wait_for_each_other(rank: Rank) -> None:
    first, second = rank.stream(), rank.stream()
    memory = rank.allocate(100)
    for work in (64, 128, 255):  # on a busy machine the work may be done before it is looked at: then more of it
        held = _busy(rank, first, work)
        rank.device.fill(memory.address, work, 100, second)
        second.synchronize(60)
        outstanding = not first.query()
        first.synchronize(60)
        rank.device.free(held)
        expect.equal(rank.read(memory), bytes([work]) * 100, "what the second stream has done")
        if outstanding:
            break
    expect.true(outstanding, "the second stream is done while the first one works", "the first one was done by then")


@clause("HAL-STR-012")
def test_many_streams(rank: Rank) -> None:
    streams = [rank.stream() for _ in range(16)]
    memories = [rank.allocate(5000) for _ in streams]
    data = [random_bytes(rank.random, 5000) for _ in streams]
    staged = [rank.to_device(each) for each in data]
    for turn in range(rank.times(50, 10)):
        for number, stream in enumerate(streams):
            rank.device.fill(memories[number].address, turn, 5000, stream)
            rank.device.copy(memories[number].address, staged[number].address, 4000, stream)
    for number, stream in enumerate(streams):
        stream.synchronize(30)
        wanted = data[number].copy()
        wanted[4000:] = turn
        expect.equal(rank.read(memories[number]), wanted.tobytes(), f"memory of stream {number}")


# events


@clause("HAL-EVT-001", "HAL-EVT-005")
def test_an_event_is_reached_after_the_work_before_it(rank: Rank) -> None:
    stream, event = rank.stream(), rank.device.create_event()
    memory = _busy(rank, stream)
    event.record(stream)
    expect.raises(StallTimeout, lambda: event.synchronize(AT_ONCE), "synchronize of an event that is far away")
    event.synchronize(60)
    expect.equal(rank.read(memory.address + LONG - 4, 4), b"\x40" * 4, "the memory at the mark")


@clause("HAL-EVT-002", "HAL-EVT-008")
@pytest.mark.parametrize("turn", range(4))
def test_an_event_orders_streams(rank: Rank, turn: int) -> None:
    first, second, event = rank.stream(), rank.stream(), rank.device.create_event()
    copied = rank.allocate(LONG)
    for work in (16, 64, 128, 255):  # on a busy machine the work may be done before it is looked at: then more of it
        memory = _busy(rank, first, work)
        event.record(first)
        event.wait(second)
        waiting = not first.query()
        rank.device.copy(copied.address, memory.address, LONG, second)
        second.synchronize(60)
        expect.equal(rank.read(copied.address + turn * 1000, 8), bytes([work]) * 8, "what the second stream has copied")
        if waiting:
            break
        rank.device.free(memory)
    expect.true(waiting, "the wait returned while the work before the mark went on", "it was done by then")


@clause("HAL-EVT-002")
def test_a_chain_of_events(rank: Rank) -> None:
    streams = [rank.stream() for _ in range(8)]
    memory = rank.allocate(9 * 1000)
    for turn in range(rank.times(100, 20)):
        rank.device.fill(memory.address, turn % 256, 1000, streams[0])
        event = rank.device.create_event()  # never recorded: the first stream waits for nothing
        for number, stream in enumerate(streams):
            event.wait(stream)
            rank.device.copy(memory.address + (number + 1) * 1000, memory.address + number * 1000, 1000, stream)
            event = rank.device.create_event()
            event.record(stream)
        event.wait(streams[0])
        event.synchronize(30)
        expect.equal(rank.read(memory.address + 8000, 1000), bytes([turn % 256]) * 1000, f"the end of chain {turn}")


@clause("HAL-EVT-003")
def test_an_event_that_was_never_recorded(rank: Rank) -> None:
    stream, event = rank.stream(), rank.device.create_event()
    event.wait(stream)
    event.synchronize(AT_ONCE)
    memory = rank.allocate(10)
    rank.device.fill(memory.address, 1, 10, stream)
    stream.synchronize(30)
    expect.equal(rank.read(memory), b"\1" * 10, "work after a wait for nothing")


@clause("HAL-EVT-004")
def test_recording_again_moves_the_mark(rank: Rank) -> None:
    first, second, event = rank.stream(), rank.stream(), rank.device.create_event()
    memory = rank.allocate(10)
    event.record(first)
    event.synchronize(30)
    _busy(rank, second, 8)  # so that it comes to the wait when the mark has moved
    event.wait(second)
    _busy(rank, first, 128)
    event.record(first)
    rank.device.fill(memory.address, 1, 10, second)
    second.synchronize(30)  # it waits for the old mark, which was reached
    expect.raises(StallTimeout, lambda: event.synchronize(AT_ONCE), "synchronize of the moved mark")
    event.synchronize(60)
    expect.equal(rank.read(memory), b"\1" * 10, "work that waited for the old mark")


@clause("HAL-EVT-006")
def test_time_between_events(rank: Rank) -> None:
    stream, begin, end = rank.stream(), rank.device.create_event(), rank.device.create_event()
    begin.record(stream)
    _busy(rank, stream)
    end.record(stream)
    end.synchronize(60)
    there, back = begin.elapsed(end), end.elapsed(begin)
    expect.true(0 < there < 60, "seconds from the first mark to the second", there, "above 0, below 60")
    expect.true(abs(there + back) <= 1e-3 * there, "seconds there and back", (there, back), "opposite numbers")
    expect.true(abs(begin.elapsed(begin)) <= 1e-9, "seconds from a mark to itself", begin.elapsed(begin), 0.0)


@clause("HAL-EVT-007")
def test_time_of_what_was_not_reached(rank: Rank) -> None:
    stream = rank.stream()
    reached, never, later = (rank.device.create_event() for _ in range(3))
    reached.record(stream)
    reached.synchronize(30)
    expect.raises(UsageError, lambda: reached.elapsed(never), "the time to an event that was never recorded")
    expect.raises(UsageError, lambda: never.elapsed(reached), "the time from an event that was never recorded")
    _busy(rank, stream)
    later.record(stream)
    expect.raises(UsageError, lambda: reached.elapsed(later), "the time to an event that is not reached")
    stream.synchronize(60)
