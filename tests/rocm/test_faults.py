"""What the backend says when HIP fails: memory runs out, a launch fails, the device is lost, copies are slow."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow
BOTH = ["hip-python", "pyhip"]
CALLS = """
import numpy as np
from hal_collectives import run_local

def calls(comm):
    x = comm.empty(100, np.float32)
    for number in range(6):
        x.copy_from(np.full(100, number + comm.rank, np.float32))
        comm.all_reduce(x, timeout=20)
        assert (x.numpy() == 2 * number + 1).all()
    return "right"

print(run_local(2, calls, timeout=60))
"""


@pytest.mark.parametrize("binding", BOTH)
def test_no_memory_is_left(run, binding):
    said = run("-c", CALLS, binding=binding, FAULTS="memory=1000000", fails=True)
    assert "has no 134217728 bytes of memory left: set rocm.segment_size to less" in said


@pytest.mark.parametrize("binding", BOTH)
def test_a_launch_fails(run, binding):
    said = run("-c", CALLS, binding=binding, FAULTS="launch=4", fails=True)
    assert "hipErrorLaunchFailure (719)" in said
    assert "BackendUnavailable" in said


@pytest.mark.parametrize("binding", BOTH)
def test_the_device_is_lost(run, binding):
    said = run("-c", CALLS, binding=binding, FAULTS="lost=5", fails=True)
    assert "hipErrorUnknown (999)" in said
    assert "BackendUnavailable" in said


def test_slow_copies_are_waited_for(run):
    assert "['right', 'right']" in run("-c", CALLS, FAULTS="slow=5000")


def test_devices_that_do_not_reach_each_other(run):
    program = """
from hal.gpu.device import open_device
from hal_rocm.driver import rocm
from hal_rocm.settings import RocmSettings

first, second = (open_device(rocm(), RocmSettings(), index) for index in range(2))
second.import_memory(first.export_memory(first.allocate(64)))
"""
    assert "device 1 does not reach the memory of device 0" in run("-c", program, DEVICES="2", NO_PEERS="1", fails=True)


def test_what_the_compiler_refuses(run):
    program = """
from hal.gpu.device import open_device
from hal_rocm.driver import rocm
from hal_rocm.settings import RocmSettings

open_device(rocm(), RocmSettings(), 0).compile("this is no program")
"""
    said = run("-c", program, fails=True)
    assert "UsageError: the compiler refuses this" in said
    assert "error: " in said
