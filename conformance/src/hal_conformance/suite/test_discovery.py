"""The plug-in: how a backend is found, what it says of itself, and that its devices open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hal.interface.errors import HalError, NotSupported, UsageError
from hal.plugins import INTERFACE_VERSION, Backend, BackendInfo, Probe, discover, installed
from hal_conformance import expect
from hal_conformance.expect import Resource
from hal_conformance.rank import Rank

clause = pytest.mark.clause


@clause("HAL-DSC-001")
def test_the_plug_in_is_admitted(rank: Rank) -> None:
    found = discover()
    broken = {one.name: one.reason for one in found.broken}
    name = rank.backend.name
    expect.true(name not in broken, "the plug-in keeps the contract of its hooks", broken.get(name))
    expect.true(isinstance(found.get(name), Backend), "the registry has the backend")


@clause("HAL-DSC-002")
def test_it_describes_itself(rank: Rank) -> None:
    info = rank.backend.info
    expect.true(isinstance(info, BackendInfo), "hal_describe returns a BackendInfo", type(info).__name__)
    names = [one.name for one in installed() if one.name == info.name]
    expect.equal(names, [info.name], "entry points of the name that hal_describe returns")
    expect.true(info.summary.strip() and "\n" not in info.summary, "the summary is one line", info.summary)
    expect.true(info.facets, "there is a facet", info.facets)


@clause("HAL-DSC-003")
def test_its_interface_version_fits(rank: Rank) -> None:
    major, minor = map(int, rank.backend.interface_version.split("."))
    ours = tuple(map(int, INTERFACE_VERSION.split(".")))
    expect.equal(major, ours[0], "the major version of the interface")
    expect.at_most(minor, ours[1], "the minor version of the interface")


@clause("HAL-DSC-005")
def test_probing_again_and_again(rank: Rank) -> None:
    for _ in range(3):
        probe = rank.backend.probe()
        expect.true(isinstance(probe, Probe), "hal_probe returns a Probe", type(probe).__name__)
        failed = [one.what for one in probe.problems if one.what.startswith("its probe failed")]
        expect.equal(failed, [], "errors that hal_probe raised")


@clause("HAL-DSC-006")
def test_problems_come_with_a_remedy(rank: Rank) -> None:
    for problem in rank.backend.probe().problems:
        expect.true(problem.what.strip(), "a problem says what is wrong", problem)
        expect.true(problem.remedy.strip(), "a problem says what to do", problem)


@clause("HAL-DSC-007")
def test_every_listed_device_opens(rank: Rank) -> None:
    backend = rank.backend
    devices = backend.probe().devices
    expect.true(devices, "an available backend lists devices", devices)
    for index in range(len(devices)):
        device = backend.open_device(rank.settings, index)
        expect.equal(device.properties.index, index, "the index that the device gives")
        device.close()


@clause("HAL-DSC-008")
@pytest.mark.parametrize("beyond", [-1, 0, 1, 1000])
def test_a_device_that_does_not_exist(rank: Rank, beyond: int) -> None:
    backend = rank.backend
    index = beyond if beyond < 0 else len(backend.probe().devices) + beyond
    expect.raises(UsageError, lambda: backend.open_device(rank.settings, index), f"opening device {index}")


@clause("HAL-DSC-009")
def test_devices_opened_twice_are_independent(rank: Rank) -> None:
    first, second = rank.open_device(), rank.open_device()
    a, b = first.allocate(4096), second.allocate(4096)
    second.fill(b.address, 7, 4096)
    first.fill(a.address, 1, 4096)
    first.close()
    expect.equal(rank.read(b), b"\7" * 4096, "memory of a device when another one was closed")
    second.free(b)
    again = second.allocate(64)
    second.fill(again.address, 3, 64)
    expect.equal(rank.read(again), b"\3" * 64, "new memory of a device when another one was closed")


@clause("HAL-DSC-010")
@pytest.mark.parametrize(
    "facet",
    [
        pytest.param("device", marks=pytest.mark.lacks("device")),
        pytest.param("transport", marks=pytest.mark.lacks("transport")),
    ],
)
def test_a_facet_that_is_not_offered(rank: Rank, facet: str) -> None:
    backend = rank.backend
    open_it = backend.open_device if facet == "device" else backend.open_transport
    expect.raises(NotSupported, lambda: open_it(rank.settings), f"opening a {facet}")


@clause("HAL-DSC-011")
def test_no_file_descriptor_is_left(rank: Rank) -> None:
    if not Path("/proc/self/fd").is_dir():
        raise Resource("this system does not list the descriptors of a process")

    def once() -> int:
        rank.backend.probe()
        if "device" in rank.backend.info.facets:
            rank.backend.open_device(rank.settings).close()
        return len(os.listdir("/proc/self/fd"))

    once()  # what is made once for the whole process may stay
    before = once()
    for _ in range(20):
        after = once()
    expect.at_most(after, before, "open file descriptors after twenty times more")


@clause("HAL-CAP-006")
@pytest.mark.parametrize("nbytes", [-1, -(1 << 40), 0, 1 << 62, (1 << 63) - 1])
def test_amounts_out_of_range_are_errors_of_hal(rank: Rank, nbytes: int) -> None:
    expect.raises(HalError, lambda: rank.device.allocate(nbytes), f"allocating {nbytes} bytes")
