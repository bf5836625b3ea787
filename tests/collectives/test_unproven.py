"""A plan that is not right in every schedule does not run, unless the user says so."""

import numpy as np
import pytest

from hal.interface.dtypes import DType
from hal.interface.errors import PlanError
from hal.plan import PlanBuilder
from hal.plan.layout import Layout
from hal.plan.verify import verify
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


def forwarded():
    """all_gather that passes the block of rank 1 on in a move as long as that of rank 0."""
    p = PlanBuilder("all_gather", name="forwarded", ranks=2, in_place=False)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        block.signal(rank.others)
        block.wait(rank.others)
        for other in p.ranks:
            block.copy([rank.scratch[1 + other.id], rank.output[0]], other.scratch[0])
            block.sync()
        for other in p.ranks:
            block.copy(rank.output[other.id], rank.scratch[1 + other.id])
    return p.build()


def run_uneven(comm, plan, counts):
    mine, total = counts[comm.rank], sum(counts)
    x, y = np.ones(mine, np.float32), np.zeros(total, np.float32)
    places = tuple((sum(counts[:rank]), n) for rank, n in enumerate(counts))

    def layout(plan):
        return Layout.explicit(plan, tuple(((0, n),) for n in counts), (places,) * 2, 4)

    executable = comm._group.load(plan, 0, DType.FLOAT32, layout=layout)
    executable.run(x.ctypes.data, x.nbytes, y.ctypes.data, y.nbytes, 10.0)
    return y


def test_what_is_right_for_equal_counts_alone_is_refused_where_a_layout_is_given():
    with pytest.raises(PlanError, match=r"plan 'forwarded' is refused.*\n.*uneven-counts"):
        run_local(2, run_uneven, forwarded(), (3, 5))
    assert verify(forwarded()).ok


def test_the_user_may_run_it_all_the_same():
    assert all(y[0] >= 1 for y in run_local(2, run_plan, racy(), verify="never"))
