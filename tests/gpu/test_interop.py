"""Arrays and streams of other libraries on either backend for GPUs, on the doubles: taken in order, or refused."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow
HERE = "[rank {rank}, in all_reduce]"
SAID = {
    "another kind of device": ("x lies on a device of another kind (DLPack type {other})", HERE),
    "another device": ("x lies on device 1, this rank is on device 0", HERE),
    "strided": ("x is not contiguous (shape (500,), strides (2,)): copy it first", HERE),
    "read-only": ("x is a Tensor that cannot be read: a read-only array", HERE),
    "complex": ("x has an element type that HAL does not have (DLPack code 5, 32 bits, 1 lanes)", "float32", HERE),
    "byte-swapped": ("x has an element type that HAL does not have (>f4)", "float32", HERE),
    "read-only interface": ("x is read-only, and the result is written to it", "[rank {rank}, in broadcast]"),
    "no interface": ("x is a SimpleNamespace that cannot be read: it lacks 'typestr'", HERE),
    "stream of an array": ("x is a SimpleNamespace that cannot be read: its stream is '1': an integer is needed", HERE),
    "stream of a version": ("a stream of version 9 of __cuda_stream__: 0 is known", HERE),
    "stream of a device": ("a stream of device 1 is no stream of device 0", HERE),
    "handle that is no number": ("a stream of {label} is needed", "not a SimpleNamespace", HERE),
}
"""What `interop.py` is told of each array and stream that cannot be taken."""


@pytest.mark.parametrize(("backend", "label", "other"), [("cuda", "CUDA", 10), ("rocm", "HIP", 2)])
def test_arrays_and_streams_of_other_libraries(run, backend, label, other):
    found = json.loads(run(backend, "-m", "tests.gpu.interop", DEVICES="2"))
    for rank in range(2):
        assert list(found[rank]) == list(SAID)
        for name, parts in SAID.items():
            assert found[rank][name].startswith("UsageError: ")
            for part in parts:
                assert part.format(rank=rank, label=label, other=other) in found[rank][name], name
