"""Long messages that go round in scratch, also on more ranks than this machine has processors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hal.interface.errors import PlanError
from hal_collectives import Communicator, run_local
from hal_collectives.algorithms import get

from .cases import covering, matrix
from .programs import printed
from .test_matrix import check

DIFFERENT = """
import os
import numpy as np
import hal_collectives as hc
from hal_collectives.algorithms import get

os.environ["HAL_HOST_PROCESSORS"] = "64" if os.environ["HAL_RANK"] == "1" else "1"
with hc.init() as comm:
    assert not comm._caller.group.executor.stretches(get('all_gather', 'staged').build(3))
    for count in (3, 5000, 300000):
        x = np.full(count, comm.rank, np.int32)
        assert (comm.all_gather(x).reshape(-1) == np.repeat(np.arange(3), count)).all()
print("agreed")
"""


@pytest.fixture
def roaming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAL_HOST_PROCESSORS", "64")


@pytest.mark.usefixtures("roaming")
@pytest.mark.parametrize("size", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_a_covering_sample(size: int) -> None:
    check(size, covering(matrix(memories=["plain", "mixed"]), seed=11), seed=size)


@pytest.mark.usefixtures("roaming")
@pytest.mark.parametrize("scratch", ["2M", "4M"])
@pytest.mark.parametrize("size", [2, 3])
def test_messages_longer_than_scratch(monkeypatch: pytest.MonkeyPatch, size: int, scratch: str) -> None:
    monkeypatch.setenv("HAL_HOST_SCRATCH_SIZE", scratch)
    monkeypatch.setenv("HAL_HOST_SINGLE_COPY", "0")
    counts = [1 << 10, 200_000, 1 << 19, 5]

    def body(comm: Communicator) -> None:
        plan = get("all_gather", "staged").build(size)
        assert comm._caller.group.executor.stretches(plan) == (size > 2)  # two ranks claim what they read
        rng = np.random.default_rng(0)  # the same on all ranks
        for turn, count in enumerate(counts * 3):
            data = rng.integers(-1000, 1000, (size, size, count), np.int32)
            mine, root = data[comm.rank], turn % size
            assert (comm.all_to_all(mine).reshape(-1) == data[:, comm.rank].reshape(-1)).all()
            assert (comm.all_gather(mine[0]).reshape(-1) == data[:, 0].reshape(-1)).all()
            assert (comm.reduce_scatter(mine).reshape(-1) == data.sum(0, np.int32)[comm.rank]).all()
            assert (comm.all_reduce(mine[0], np.empty(count, np.int32)) == data[:, 0].sum(0)).all()
            assert (comm.broadcast(mine[0].copy(), root=root) == data[root, 0]).all()
            got = comm.reduce(mine[0].copy(), root=root)
            assert comm.rank != root or (got == data[:, 0].sum(0)).all()

    run_local(size, body, timeout=30)


@pytest.mark.parametrize("collective", ["all_gather", "all_to_all", "broadcast", "all_reduce"])
def test_the_table_chooses_what_little_scratch_has_room_for(collective: str) -> None:
    """Messages that two ranks publish where scratch holds them."""

    def body(comm: Communicator) -> list[str]:
        for count in (1 << 10, 60_000, 1 << 18):
            x = np.full(count, comm.rank + 1, np.int32)
            call = getattr(comm, collective)
            if collective == "broadcast":
                assert (call(x) == 1).all()
            elif collective == "all_reduce":
                assert (call(x) == 3).all()
            else:
                got = call(x.reshape(2, -1) if collective == "all_to_all" else x)
                assert (got == np.array([[1], [2]])).all()
        kept = comm._caller.calls._kept.values()
        plans = [executable._plans for executable in kept]  # type: ignore[attr-defined]  # the host's have them
        return [plan.name for pair in plans for plan in pair if plan is not None]

    for names in run_local(2, body, timeout=20, host__scratch_size="512K", host__single_copy=0):
        assert "staged" in names
        assert collective == "all_reduce" or names[0] == "publish"


def test_a_message_that_nothing_has_room_for_is_refused() -> None:
    def body(comm: Communicator) -> None:
        with pytest.raises(PlanError, match=r"'staged' needs 262144 bytes of scratch .*, a launch has 32768"):
            comm.all_gather(np.ones(100_000, np.float32))
        assert (comm.all_gather(np.ones(1000, np.float32)) == 1).all()

    run_local(2, body, timeout=20, host__scratch_size="64K")


def test_ranks_that_differ_agree(tmp_path: Path) -> None:
    assert printed(tmp_path, DIFFERENT, 3) == ["agreed"] * 3
