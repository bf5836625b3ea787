"""Allocation inside one range of addresses: first fit, with neighbouring free ranges joined."""

from __future__ import annotations

import bisect
import threading

ALIGN = 256
PAGE = 4096


class HeapFull(Exception):  # noqa: N818
    """No free range is large enough."""


class Heap:
    """Hands out offsets in [0, nbytes). Threads may share it."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._lock = threading.Lock()
        self._free: list[tuple[int, int]] = [(0, nbytes)]
        self._used: dict[int, int] = {}

    def allocate(self, nbytes: int, align: int = ALIGN) -> int:
        """The offset of a free range; `HeapFull` where there is none. Rounded up to whole units of `align`."""
        need = -(-nbytes // align) * align
        with self._lock:
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
        with self._lock:
            length = self._used.pop(offset)
            i = bisect.bisect(self._free, (offset, 0))
            start, end = offset, offset + length
            if i < len(self._free) and self._free[i][0] == end:
                end += self._free.pop(i)[1]
            if i > 0 and sum(self._free[i - 1]) == start:
                i -= 1
                start = self._free.pop(i)[0]
            self._free.insert(i, (start, end - start))
            return length

    @property
    def used(self) -> int:
        """Bytes allocated at present."""
        return sum(self._used.values())
