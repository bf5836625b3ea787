"""A rule for calls in place: which plan runs where all ranks are in place, where some are, and where none is."""

from __future__ import annotations

import numpy as np
import pytest

from hal_collectives import Communicator, run_local


@pytest.mark.parametrize("registered", [{0, 1}, {0}, set()])
@pytest.mark.parametrize("in_place", [{0, 1}, {0}, {1}, set()])
def test_registered_buffers_are_reached_where_all_are_in_place(in_place: set[int], registered: set[int]) -> None:
    def body(comm: Communicator) -> bool:
        def array() -> np.ndarray:
            return comm.empty(1 << 14, np.float32) if comm.rank in registered else np.empty(1 << 14, np.float32)

        x, other = array(), array()
        for turn in range(3):  # the first call is prepared, the next ones are remembered
            x[:] = comm.rank + turn
            out = comm.all_reduce(x, x if comm.rank in in_place else other)
            assert (out == 1 + 2 * turn).all()
        (executable,) = comm._caller.calls._kept.values()
        return bool(executable.native.ran_mapped)  # type: ignore[attr-defined]  # the host's have it

    assert run_local(2, body, timeout=20) == [in_place == registered == {0, 1}] * 2


def test_a_pin_without_the_condition_holds_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAL_ALGORITHMS_ALL_REDUCE", "two_phase_mapped")

    def body(comm: Communicator) -> bool:
        x = comm.empty(1 << 14, np.float32)
        x[:] = 1
        assert (comm.all_reduce(x, comm.empty(1 << 14, np.float32)) == 2).all()
        (executable,) = comm._caller.calls._kept.values()
        return bool(executable.native.ran_mapped)  # type: ignore[attr-defined]  # the host's have it

    assert run_local(2, body, timeout=20) == [True] * 2
