"""A rank that cannot join: its own error is raised, and the others do not wait for it until their deadlines."""

from __future__ import annotations

import time

import pytest

from hal.interface.errors import BackendUnavailable
from hal_collectives import launch, run_local


@pytest.mark.parametrize("bad", [0, 2])
def test_the_error_of_the_rank_that_fails_is_raised(monkeypatch, bad):
    connect = launch.connect

    def fails_for_one(store, settings, *, local_rank):
        if local_rank == bad:
            raise BackendUnavailable("the driver is broken")
        return connect(store, settings, local_rank=local_rank)

    monkeypatch.setattr(launch, "connect", fails_for_one)
    began = time.monotonic()
    with pytest.raises(BackendUnavailable, match=r"^the driver is broken"):
        run_local(3, lambda comm: comm.rank, timeout=60)
    assert time.monotonic() - began < 30
