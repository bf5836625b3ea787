import numpy as np
import pytest


@pytest.fixture
def numbers():
    """Arrays of small whole numbers, different on every rank: exact in every dtype, no array a copy of another."""

    def numbers(ranks, count, dtype=np.int32):
        return [((np.arange(count) * 3 + rank * 7) % 11 + 1).astype(dtype) for rank in range(ranks)]

    return numbers
