"""The allocator: what it hands out never overlaps, is aligned, and comes back whole."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hal.interface.errors import UsageError
from hal.runtime.heap import ALIGN, PAGE, Heap, HeapFull
from hal_host.segment import Segment

SIZE = 1 << 20


class HeapMachine(RuleBasedStateMachine):
    """Allocations and frees in any order, against a plain set of ranges."""

    def __init__(self) -> None:
        super().__init__()
        self.heap = Heap(SIZE)
        self.ranges: dict[int, int] = {}

    def room(self, nbytes: int, align: int) -> bool:
        """Whether a free range takes this, found by looking at every gap."""
        edges = sorted(self.ranges.items())
        begins = [0, *(offset + length for offset, length in edges)]
        ends = [*(offset for offset, _ in edges), SIZE]
        return any(-(-b // align) * align + nbytes <= e for b, e in zip(begins, ends, strict=True))

    @rule(nbytes=st.integers(1, SIZE // 3), align=st.sampled_from([ALIGN, PAGE]))
    def allocate(self, nbytes: int, align: int) -> None:
        length = -(-nbytes // align) * align
        if not self.room(length, align):
            with pytest.raises(HeapFull):
                self.heap.allocate(nbytes, align)
            return
        offset = self.heap.allocate(nbytes, align)
        assert offset % align == 0
        assert 0 <= offset <= SIZE - nbytes
        assert all(offset + length <= o or o + n <= offset for o, n in self.ranges.items())
        assert self.heap.length(offset) == length
        self.ranges[offset] = length

    @precondition(lambda self: self.ranges)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.ranges)))
        assert self.heap.free(offset) == self.ranges.pop(offset)
        with pytest.raises(KeyError):
            self.heap.free(offset)

    @invariant()
    def accounts(self) -> None:
        assert self.heap.used == sum(self.ranges.values())

    def teardown(self) -> None:
        for offset in self.ranges:
            self.heap.free(offset)
        assert self.heap.allocate(SIZE) == 0, "free neighbours were not joined"


TestHeap = HeapMachine.TestCase
TestHeap.settings = settings(max_examples=30, stateful_step_count=40)


class Returning:
    """Gives its range back when it is collected, wherever that happens."""

    def __init__(self, heap: Heap) -> None:
        self.heap = heap
        self.offset = heap.allocate(300)
        self.cycle = self

    def __del__(self) -> None:
        self.heap.free(self.offset)


def test_free_from_a_finalizer_in_the_middle_of_another_call() -> None:
    heap = Heap(SIZE)
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(2000):
            Returning(heap)
            heap.free(heap.allocate(5000, PAGE))
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert heap.used == 0
    assert heap.allocate(SIZE) == 0


def test_threads_share_a_segment_without_losing_what_they_write() -> None:
    """A large range that is freed loses its pages; nobody may have been given it by then."""
    segment = Segment(1 << 24)
    wrong: list[int] = []

    def work(seed: int) -> None:
        import ctypes

        for i in range(150):
            nbytes = (1 << 20) + 4096 * (i % 7)
            address = segment.allocate(nbytes)
            array = np.frombuffer(memoryview((ctypes.c_uint8 * nbytes).from_address(address)), np.uint8)
            array[:] = seed
            if not (array == seed).all():
                wrong.append(i)
            segment.free(address)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert segment.heap.used == 0


def test_a_full_segment_names_the_setting() -> None:
    segment = Segment(1 << 24)
    with pytest.raises(UsageError, match=r"host\.segment_size"):
        segment.allocate(1 << 25)


def test_zeroed_memory_is_zero_again_after_use() -> None:
    import ctypes

    segment = Segment(1 << 24)
    address = segment.allocate(5000)
    ctypes.memset(address, 255, 5000)
    segment.free(address)
    address = segment.allocate(5000, zero=True)
    assert ctypes.string_at(address, 5000) == bytes(5000)
