"""Allocation inside one range of addresses: first fit, with neighbouring free ranges joined."""

from __future__ import annotations

import bisect
import collections
import threading

ALIGN = 256
PAGE = 4096


class HeapFull(Exception):  # noqa: N818 -- a state of the heap, caught where it is turned into a UsageError
    """No free range is large enough."""


class Heap:
    """Hands out offsets in [0, nbytes). Threads may share it.

    `free` may be called from a finalizer, and so in the middle of another call of the same thread: it waits for
    nothing, and leaves what it gives back for whoever is at work on the free ranges.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._lock = threading.Lock()
        self._free: list[tuple[int, int]] = [(0, nbytes)]
        self._used: dict[int, int] = {}
        self._returned: collections.deque[tuple[int, int]] = collections.deque()

    def allocate(self, nbytes: int, align: int = ALIGN) -> int:
        """The offset of a free range; `HeapFull` where there is none. Rounded up to whole units of `align`."""
        need = -(-nbytes // align) * align
        with self._lock:
            self._join_returned()
            for i, (start, length) in enumerate(self._free):
                offset = -(-start // align) * align
                if offset + need > start + length:
                    continue
                rest = [(start, offset - start), (offset + need, start + length - offset - need)]
                self._free[i : i + 1] = [r for r in rest if r[1]]
                self._used[offset] = need
                return offset
        raise HeapFull(f"{nbytes} bytes do not fit in what is left of {self.nbytes}")

    def free(self, offset: int) -> int:
        """Give back what `allocate` returned; its length. `KeyError` where nothing is allocated there."""
        length = self._used.pop(offset)
        self._returned.append((offset, length))
        if self._lock.acquire(blocking=False):
            try:
                self._join_returned()
            finally:
                self._lock.release()
        return length

    def length(self, offset: int) -> int:
        """The length of the range that `allocate` returned; `KeyError` where nothing is allocated there."""
        return self._used[offset]

    def holds(self, offset: int, nbytes: int) -> bool:
        """Whether a range lies within one that is allocated."""
        return any(at <= offset and offset + nbytes <= at + length for at, length in list(self._used.items()))

    def _join_returned(self) -> None:
        while self._returned:
            start, length = self._returned.popleft()
            end = start + length
            i = bisect.bisect(self._free, (start, 0))
            if i < len(self._free) and self._free[i][0] == end:
                end += self._free.pop(i)[1]
            if i > 0 and sum(self._free[i - 1]) == start:
                i -= 1
                start = self._free.pop(i)[0]
            self._free.insert(i, (start, end - start))

    @property
    def used(self) -> int:
        """Bytes allocated at present."""
        return sum(list(self._used.values()))
