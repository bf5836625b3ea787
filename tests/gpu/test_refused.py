"""Bad input of a communicator on either backend for GPUs, on the doubles: one clear error each."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow
ADDRESS = "0x"
HERE = "[rank {rank}, in all_reduce]"
SAID = {
    "host": ("UsageError: the input at", ADDRESS, "memory of the host", "copy it to the device first", HERE),
    "host pointer": ("UsageError: the input at", ADDRESS, "memory of the host", "copy it to the device first", HERE),
    "output on the host": ("UsageError: the output at", ADDRESS, "memory of the host", HERE),
    "no address": ("UsageError: the input at 0x4000000000000", "or was freed", HERE),
    "null": ("UsageError: the input of 64 bytes has the address 0", "device memory is needed", HERE),
    "another device": ("UsageError: the input at", ADDRESS, "lies on device 1, this rank is on 0", HERE),
    "another device by DLPack": ("UsageError: x lies on device 1, this rank is on device 0", HERE),
    "freed": ("UsageError: the input of 64 bytes at", ADDRESS, "not allocated, or was freed", HERE),
    "misaligned": ("UsageError: the input at", "02 is not aligned to its elements of 4 bytes", HERE),
    "past the end": ("UsageError: the input of 4194304 bytes at", "not allocated, or was freed", HERE),
    "strided": ("UsageError: x is not contiguous", "copy it first", HERE),
    "read-only": ("UsageError: x is read-only", HERE),
    "no array": ("UsageError: x is a int: allowed are", HERE),
    "type": ("UsageError: x has an element type that HAL does not have (<c8): allowed are int8, uint8,", HERE),
    "type of empty": ("UsageError: unknown dtype", "complex64", "allowed are int8, uint8,"),
    "types differ": ("UsageError: out has dtype float64, x has float32", HERE),
    "stream of another device": ("UsageError: a stream of device 1 is no stream of device 0", HERE),
    "its handle": ("UsageError: a stream of another device is no stream of device 0", HERE),
    "its index": ("UsageError: a stream of device 1 is no stream of device 0", HERE),
    "no stream": ("UsageError: a stream of {label} is needed", "__cuda_stream__", "not a str", HERE),
    "grid": ("PlanError: plan 'wide' needs 600 blocks at once for 2 ranks on device 0, which holds 512",
             "use fewer blocks", "{backend}.threads", "[rank {rank}]"),
}  # fmt: skip
"""What is said of each call of `refused.py`: what is wrong, where, and what is allowed."""


@pytest.mark.parametrize(("backend", "label"), [("cuda", "CUDA"), ("rocm", "HIP")])
def test_calls_that_are_refused(run, backend, label):
    found = json.loads(run(backend, "-m", "tests.gpu.refused", DEVICES="2"))
    for rank in range(2):
        assert list(found[rank]) == list(SAID)
        for name, parts in SAID.items():
            for part in parts:
                assert part.format(rank=rank, backend=backend, label=label) in found[rank][name], name


@pytest.mark.parametrize(
    ("backend", "settings", "parts"),
    [
        ("cuda", {"DRIVER": "11080"}, ["driver is too old", "made for CUDA 11.8", "driver for CUDA 12.0 or newer"]),
        ("cuda", {"DRIVER": "0"}, ["there is no driver: libcuda.so.1 is not found", "install NVIDIA's driver"]),
        ("cuda", {"DEVICES": "0"}, ["there is no device: CUDA lists none", "hal doctor"]),
        ("rocm", {"VERSION": "50221153"}, ["the ROCm installed here is too old", "ROCm 6.0 or newer is needed"]),
        ("rocm", {"DEVICES": "0"}, ["there is no device: HIP lists none", "hal doctor"]),
        ("rocm", {"ARCH": "gfx906"}, ["device 0 is a gfx906", "supported are gfx90a, gfx942"]),
    ],
)
def test_a_machine_that_lacks_something(run, backend, settings, parts):
    program = "from hal_collectives import run_local; run_local(2, print, timeout=20)"
    error = run(backend, "-c", program, fails=True, **settings).strip().splitlines()[-1]
    assert "BackendUnavailable: " in error
    for part in parts:
        assert part in error


@pytest.mark.parametrize(
    ("backend", "missing", "parts"),
    [
        ("cuda", "cupy", ["CuPy is not installed", "pip install 'hal-cuda[cuda12]'"]),
        ("rocm", "hip", ["no binding of HIP is installed", "pip install 'hal-rocm[hip-python]'"]),
    ],
)
def test_a_binding_is_missing(run, backend, missing, parts):
    program = f"""
import importlib.machinery, sys
sys.path[:] = [place for place in sys.path if not importlib.machinery.PathFinder.find_spec("{missing}", [place])]
from hal_collectives import run_local
run_local(2, print, timeout=20)
"""
    error = run(backend, "-c", program, fails=True).strip().splitlines()[-1]
    assert "BackendUnavailable: " in error
    for part in parts:
        assert part in error
