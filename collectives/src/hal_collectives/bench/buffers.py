"""The memory that the measured calls read and write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal_collectives.bench.cases import Case
from hal_collectives.communicator import Communicator

Array = NDArray[Any]


class Buffers:
    """Two buffers, each as large as the largest case, allocated once: mapping memory anew is not what is measured."""

    def __init__(self, comm: Communicator, cases: Sequence[Case], *, mapped: bool) -> None:
        size = max(1, *(case.size for case in cases))
        self._rank = comm.rank
        self._first: Array = comm.empty((size,), np.uint8) if mapped else np.empty(size, np.uint8)
        self._second: Array = comm.empty((size,), np.uint8) if mapped else np.empty(size, np.uint8)

    def views(self, case: Case, *, in_place: bool) -> tuple[Array, Array]:
        """The input and the output of a call.

        In place they share memory as in NCCL: the smaller one is this rank's block of the larger one.
        """
        dtype, message = case.dtype.numpy, case.message
        if not in_place:
            return (
                self._first[: message.send * dtype.itemsize].view(dtype),
                self._second[: message.receive * dtype.itemsize].view(dtype),
            )
        shared = self._second[: case.size].view(dtype)
        block = shared[self._rank * message.count : (self._rank + 1) * message.count]
        if message.send < message.receive:
            return block, shared
        if message.send > message.receive:
            return shared, block
        return shared, shared
