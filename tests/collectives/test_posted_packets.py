"""Packets that are put through a port channel: their receiver needs no signal."""

import numpy as np
import pytest

from hal.interface.dtypes import DType
from hal.plan import PlanBuilder
from hal.plan.verify import Code, verify
from hal.reference import run
from hal_collectives import run_local


def passing_on(*, packed=True):
    """all_gather in which every rank packs its input for itself and puts the packets to the others."""
    p = PlanBuilder("all_gather", name="posted_packets", ranks=3, even=True)
    for rank in p.ranks:
        block = rank.block()
        if packed:
            block.copy(rank.scratch[rank.id].packets, rank.input[0])
        for other in rank.others:
            block.post(other.scratch[rank.id].packets, rank.scratch[rank.id].packets)
        block.copy(rank.output[rank.id], rank.input[0])
        reader = rank.block()
        for other in rank.others:
            reader.copy(rank.output[other.id], rank.scratch[other.id].packets)
    return p.build()


def test_it_is_proven():
    report = verify(passing_on())
    assert report.ok, str(report)


def test_packets_that_nobody_packs_are_waited_for_in_vain():
    findings = verify(passing_on(packed=False)).findings
    assert {finding.code for finding in findings} == {Code.DEADLOCK}


@pytest.mark.parametrize("seed", range(5))
def test_on_the_reference(seed):
    inputs = [np.arange(64, dtype=np.int32) + 1000 * rank for rank in range(3)]
    result = run(passing_on(), inputs, schedule=seed, max_pieces=4, launches=3)
    for launch in result.launches:
        for output in launch:
            np.testing.assert_array_equal(output, np.concatenate(inputs))


def test_on_the_host():
    plan = passing_on()

    def body(comm):
        x = np.arange(64, dtype=np.int32) + 1000 * comm.rank
        y = np.zeros(192, np.int32)
        executable = comm._group.load(plan, 64, DType.INT32)
        for _ in range(3):
            executable.run(x.ctypes.data, x.nbytes, y.ctypes.data, y.nbytes, 10.0)
        return y

    for y in run_local(3, body):
        np.testing.assert_array_equal(y, np.concatenate([np.arange(64) + 1000 * rank for rank in range(3)]))
