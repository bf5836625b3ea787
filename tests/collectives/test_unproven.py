"""A plan that is not right in every schedule does not run, unless the user says so."""

import numpy as np
import pytest

from hal.interface.dtypes import DType
from hal.interface.errors import PlanError
from hal.plan import PlanBuilder
from hal_collectives import run_local


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def racy():
    """all_reduce on two ranks without the meeting between publishing and reading."""
    p = PlanBuilder("all_reduce", name="racy", ranks=2)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        block.sync()
        block.reduce(rank.output[0], [q.scratch[0] for q in p.ranks], final=True)
    return p.build()


def run_plan(comm, plan):
    x, y = np.ones(8, np.float32), np.zeros(8, np.float32)
    comm._group.load(plan, 8, DType.FLOAT32).run(x.ctypes.data, x.nbytes, y.ctypes.data, y.nbytes, 10.0)
    return y


def test_it_is_refused_on_every_rank():
    with pytest.raises(PlanError, match=r"plan 'racy' is refused.*\n.*data-race"):
        run_local(2, run_plan, racy())


def test_the_user_may_run_it_all_the_same():
    assert all(y[0] >= 1 for y in run_local(2, run_plan, racy(), verify="never"))
