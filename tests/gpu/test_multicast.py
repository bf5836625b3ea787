"""`multicast: true` on the double of CUDA's driver, which has multicast memory between processes. No GPU takes part."""

from __future__ import annotations

import json
import re
import sys

import pytest

pytestmark = pytest.mark.slow
WANTED = {"MULTICAST": "true"}


def program(run, what="used", size=2, environment=WANTED, **settings):
    """What ranks that are processes print, line by line in order."""
    words = ("hal", "run", "--keep-going", "-n", str(size), sys.executable, "-m", "tests.gpu.multicast", what)
    fails = what == "killed"
    settings = {"DEVICES": str(size), "MULTICAST": "1", **settings}
    said = run("cuda", *words, environment=environment, fails=fails, **settings)
    return sorted(re.findall(r"rank \d: .*", said))


@pytest.mark.parametrize(("size", "copies"), [(2, "engine"), (3, "kernel")])
def test_switch_channels_use_it_between_processes(run, size, copies):
    said = program(run, size=size, environment=WANTED | {"COPIES": copies})
    assert [line for line in said if "left" in line] == [f"rank {rank}: left 0 0" for rank in range(size)]
    counts = [json.loads(line.partition("used ")[2]) for line in said if "used" in line]
    assert len(counts) == size
    # three calls; of 256 elements, 64 packs, a rank loads the sum and stores it
    assert [each[0] for each in counts] == [each[4] for each in counts] == [3 * 2 * 64] * size
    assert [each[1] for each in counts] == [3 * 64] * size
    assert all(each[2] > 0 and each[3] == 0 for each in counts)


def test_without_the_setting_it_is_not_used(run):
    assert program(run, environment={})[:2] == ["rank 0: left 0 0", "rank 0: used [0, 0, 0, 0, 0]"]


@pytest.mark.parametrize(
    ("what", "settings", "error"),
    [
        ("used", {"MULTICAST": "0"}, "NotSupported: cuda.multicast = true: rank 0: device 0 (a double) lacks the "
                                     "capability multicast"),
        ("used", {"DEVICES": "1"}, "UsageError: cuda.multicast = true needs a device for each rank: two ranks are on"),
        ("differ", {}, "UsageError: ranks differ in cuda.multicast"),
        ("unreachable", {}, "BackendUnavailable: cuda.multicast = true: rank 0: cannot pass handles to the process of "
                            "rank 1: [Errno 111] Connection refused; ranks must be processes of one container"),
        ("cuMemCreate", {}, "rank 1: making multicast memory: the driver says cuMemCreate: operation not supp"),
        ("cuMulticastAddDevice", {}, "rank 1: taking the others' multicast memory: the driver says cuMulticastAdd"),
        ("cuMulticastBindMem", {}, "rank 1: binding multicast memory: the driver says cuMulticastBindMem: operation"),
        ("cuMemMap", {}, "rank 1: mapping multicast memory: the driver says cuMemMap: operation not supported (801)"),
    ],
)  # fmt: skip
def test_where_it_cannot_be_had(run, what, settings, error):
    """One error on every rank, and nothing is left behind."""
    said = program(run, what, **settings)
    errors = [line for line in said if "left" not in line]
    assert len(errors) == 2
    assert all(error in line for line in errors), said
    assert [line for line in said if "left" in line] == ["rank 0: left 0 0", "rank 1: left 0 0"]


def test_a_rank_is_killed(run):
    """The others find out, and give back what they hold, that rank's memory too."""
    said = program(run, "killed", size=3)
    for rank in range(2):
        assert f"rank {rank}: PeerFailure: rank 2 has died or left the group" in "\n".join(said)
        assert f"rank {rank}: left 0 0" in said


def test_ranks_that_are_threads_are_on_one_device(run):
    said = run(
        "cuda",
        "-c",
        "import hal_collectives as h; h.run_local(2, print)",
        environment=WANTED,
        MULTICAST="1",
        fails=True,
    )
    assert "UsageError: cuda.multicast = true needs a device for each rank" in said


def test_a_driver_without_it(run):
    said = run("rocm", "-c", "import hal_collectives as h; h.run_local(2, print)", environment=WANTED, fails=True)
    assert "NotSupported: rocm.multicast = true: rank 0: device 0" in said
    assert "lacks the capability multicast" in said
