"""The scratch that executors give to a pair of ranks suits the algorithms that carry messages."""

from __future__ import annotations

import pytest

import hal.gpu.group
import hal_host.executor
from hal.interface.dtypes import DType
from hal.plan.layout import Layout
from hal.plan.lower import lower
from hal_collectives.algorithms import get


@pytest.mark.parametrize("name", ["staged", "pushed_staged"])
@pytest.mark.parametrize(
    "scratch", [hal_host.executor.PAIR_SCRATCH // 2, hal.gpu.group.PAIR_SCRATCH], ids=["host", "gpu"]
)
def test_messages_of_any_length_fit(name, scratch):
    plan = get("send_recv", name).build(size=2)
    for count in (1 << 14, 65537, 1 << 24):
        for rank in (0, 1):
            assert lower(plan, rank, Layout.uniform(plan, count, 4), DType.INT32).scratch_bytes <= scratch
