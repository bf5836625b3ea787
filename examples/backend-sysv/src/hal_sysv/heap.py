"""Which parts of a range are taken: first fit, neighbours that are free grow together."""

from __future__ import annotations

import bisect
import threading

ALIGNMENT = 256


class Heap:
    """Blocks of a range of addresses that begins at a multiple of `ALIGNMENT`. Threads may share it."""

    def __init__(self, base: int, size: int) -> None:
        self._lock = threading.Lock()
        self._free = [(base, size)]  # by address
        self._taken: dict[int, tuple[int, int]] = {}
        self._order: list[int] = []
        self.largest = size

    def take(self, nbytes: int) -> int | None:
        """The address of a new block; None where no part is large enough."""
        room = -(-nbytes // ALIGNMENT) * ALIGNMENT
        with self._lock:
            for number, (address, size) in enumerate(self._free):
                if size >= room:
                    self._free[number : number + 1] = [(address + room, size - room)] if size > room else []
                    self._taken[address] = (nbytes, room)
                    bisect.insort(self._order, address)
                    return address
        return None

    def give_back(self, address: int) -> bool:
        """Free the block that begins here; whether there was one."""
        with self._lock:
            block = self._taken.pop(address, None)
            if block is None:
                return False
            del self._order[bisect.bisect_left(self._order, address)]
            self._insert(address, block[1])
            return True

    def _insert(self, address: int, size: int) -> None:
        at = bisect.bisect_left(self._free, (address, 0))
        if at < len(self._free) and address + size == self._free[at][0]:
            size += self._free.pop(at)[1]
        if at > 0 and sum(self._free[at - 1]) == address:
            address, size = self._free[at - 1][0], self._free[at - 1][1] + size
            at -= 1
            del self._free[at]
        self._free.insert(at, (address, size))

    def holds(self, address: int, nbytes: int) -> bool:
        """Whether a range lies in one block."""
        with self._lock:
            at = bisect.bisect_right(self._order, address)
            if not at:
                return False
            begin = self._order[at - 1]
            return address + nbytes <= begin + self._taken[begin][0]

    def size_of(self, address: int) -> int | None:
        """The bytes of the block that begins here; None where there is none."""
        with self._lock:
            block = self._taken.get(address)
            return None if block is None else block[0]
