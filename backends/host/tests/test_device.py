"""The device's memory, streams and events, as `hal.interface.device` words them."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hal.interface.capability import Capability
from hal.interface.device import Memory, Stream
from hal.interface.errors import BackendUnavailable, NotSupported, PeerFailure, StallTimeout, UsageError
from hal_host import _native, segment
from hal_host.device import HostDevice
from hal_host.plugin import hal_describe
from hal_host.segment import Handle
from hal_host.settings import HostSettings
from hal_host.streams import HostStream, void


@pytest.fixture
def device() -> Iterator[HostDevice]:
    opened = HostDevice(HostSettings())
    yield opened
    opened.close()


def content(memory: Memory) -> bytes:
    return ctypes.string_at(memory.address, memory.nbytes)


def used() -> int:
    assert segment._segment is not None
    return segment._segment.heap.used


# memory


@pytest.mark.parametrize("nbytes", [1, 255, 4096, 5_000_000])
def test_memory_is_aligned_written_and_freed(device: HostDevice, nbytes: int) -> None:
    before = used()
    memory = device.allocate(nbytes)
    assert (memory.nbytes, memory.address % 256) == (nbytes, 0)
    device.fill(memory.address, 0xAB, nbytes)
    assert content(memory) == b"\xab" * nbytes
    device.free(memory)
    assert used() == before
    with pytest.raises(UsageError, match="freed already"):
        device.free(memory)


@pytest.mark.parametrize("nbytes", [0, -1, 1 << 62])
def test_impossible_amounts_are_refused(device: HostDevice, nbytes: int) -> None:
    with pytest.raises(UsageError):
        device.allocate(nbytes)


def test_copy_and_fill(device: HostDevice) -> None:
    a, b = device.allocate(1000), device.allocate(1000)
    device.fill(a.address, 1, 1000)
    device.fill(a.address + 10, 255, 5)
    device.copy(b.address, a.address, 1000)
    assert content(b) == b"\1" * 10 + b"\xff" * 5 + b"\1" * 985
    device.copy(b.address, a.address, 0)
    for value in (-1, 256):
        with pytest.raises(UsageError, match="0 to 255"):
            device.fill(a.address, value, 1)
    for call in (lambda: device.fill(a.address, 0, -1), lambda: device.copy(a.address, b.address, -1)):
        with pytest.raises(UsageError):
            call()


def test_close_frees_all_and_twice(device: HostDevice) -> None:
    before = used()
    memory = device.allocate(100)
    device.allocate(1 << 21)
    device.import_memory(device.export_memory(memory))
    device.create_stream()
    device.close()
    device.close()
    assert used() == before


def test_what_is_not_declared_is_refused(device: HostDevice) -> None:
    assert (
        device.capabilities
        == set(hal_describe().capabilities)
        == {Capability.EXECUTOR, Capability.HOST_MAPPED, Capability.SWITCH_EMULATION, Capability.REMOTE_MEMBERS}
    )
    with pytest.raises(NotSupported, match="compile"):
        device.compile("")
    with pytest.raises(NotSupported, match="compile"):
        device.launch(None, 1, 1, [])
    assert device.properties == device.properties
    assert device.properties.compute_units >= 1


def test_memory_of_arrays_in_cycles_is_freed_in_the_middle_of_allocations(device: HostDevice) -> None:
    from hal_collectives import buffers

    gc.collect()  # what earlier tests have left in cycles
    before, threshold = used(), gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(500):
            cycle: list[object] = [buffers.empty(device, 1000, np.float32)]
            cycle.append(cycle)
    finally:
        gc.set_threshold(*threshold)
    del cycle
    gc.collect()
    assert used() == before


# handles

FOREIGN = """
import sys, time
from hal_host.device import HostDevice
from hal_host.settings import HostSettings
device = HostDevice(HostSettings())
memory = device.allocate(5000)
device.fill(memory.address, 7, 5000)
print(device.export_memory(memory).hex(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def foreign() -> Iterator[tuple[subprocess.Popen[str], bytes]]:
    """Another process, and the handle of 5000 bytes of 7 there."""
    process = subprocess.Popen(
        [sys.executable, "-c", FOREIGN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        yield process, bytes.fromhex(process.stdout.readline())
        process.kill()
    process.wait(30)


def test_another_process_sees_the_same_memory(device: HostDevice, foreign: tuple[subprocess.Popen[str], bytes]) -> None:
    first, second = device.import_memory(foreign[1]), device.import_memory(foreign[1])
    assert first.nbytes == 5000
    assert content(first) == b"\7" * 5000
    device.fill(first.address, 9, 1)
    assert content(second)[:2] == b"\t\7"
    device.free(first)
    assert content(second)[:2] == b"\t\7"  # each import is a mapping of its own
    foreign[0].send_signal(signal.SIGKILL)
    foreign[0].wait(30)
    assert content(second)[:2] == b"\t\7"  # memory lives as long as anybody maps it
    device.free(second)
    with pytest.raises(UsageError):
        device.free(second)
    assert not [key for key in segment._foreign if key[0] == foreign[0].pid]


def test_what_this_process_exports_it_imports(device: HostDevice) -> None:
    memory = device.allocate(100)
    imported = device.import_memory(device.export_memory(memory))
    assert imported.address == memory.address
    device.free(memory)
    with pytest.raises(UsageError, match="not allocated by this device"):
        device.export_memory(memory)


def test_the_handle_of_a_process_that_has_ended(
    device: HostDevice, foreign: tuple[subprocess.Popen[str], bytes]
) -> None:
    process, handle = foreign
    process.kill()
    process.wait(30)
    with pytest.raises(PeerFailure, match=str(process.pid)):
        device.import_memory(handle)


def altered(handle: bytes, **changes: int) -> bytes:
    parsed = Handle.unpack(handle)
    values = {name: getattr(parsed, name) for name in Handle.__dataclass_fields__}
    return Handle(**{**values, **changes}).pack()


def test_handles_that_name_something_else(device: HostDevice, foreign: tuple[subprocess.Popen[str], bytes]) -> None:
    _, handle = foreign
    parsed = Handle.unpack(handle)
    size = parsed.arena_bytes
    for changes in ({"pid": 2**31 - 1}, {"fd": 999}, {"inode": parsed.inode + 1}, {"fd": 0}, {"fd": 1}):
        with pytest.raises(PeerFailure):
            device.import_memory(altered(handle, **changes))
    for changes in (
        {"pid": 2**31},
        {"fd": 2**63},
        {"arena_bytes": size - 4096},
        {"arena_bytes": size + 4096},
        {"offset": size},
        {"offset": 2**64 - 1},
        {"nbytes": size + 1},
        {"nbytes": 0, "arena_bytes": 0, "offset": 0},
    ):
        with pytest.raises(UsageError):
            device.import_memory(altered(handle, **changes))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=80),
        st.binary(min_size=56, max_size=56).map(lambda b: b"HALHOST2" + b),
        st.tuples(*[st.integers(0, 5)] * 7).map(lambda v: segment._HANDLE.pack(b"HALHOST2", *v)),
    )
)
def test_any_bytes_are_no_handle(device: HostDevice, data: bytes) -> None:
    with pytest.raises((UsageError, PeerFailure, BackendUnavailable)):  # the last: another user's process
        device.import_memory(data)


# a child of a fork

CHILD = """
import os, sys, numpy as np
from hal.interface.errors import UsageError
from hal_collectives import buffers
from hal_host import segment
from hal_host.device import HostDevice
from hal_host.settings import HostSettings

device = HostDevice(HostSettings())
array = buffers.empty(device, 100, np.int64)
array[:] = 1
child = os.fork()
if child == 0:
    try:
        device.allocate(10)
    except UsageError:
        pass
    else:
        os._exit(2)
    own = HostDevice(HostSettings())
    fresh = buffers.empty(own, 100, np.int64)
    fresh[:] = 2
    array[0] += 5  # still the parent's memory
    assert segment._segment.pid == os.getpid()
    assert (fresh == 2).all()
    del array, fresh
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert array[0] == 6 and (array[1:] == 1).all()
del array
assert segment._segment.heap.used == 0
"""


def test_a_child_of_a_fork_has_memory_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], timeout=60, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# streams and events


def enqueue(stream: Stream, work: Callable[[], object]) -> None:
    """Let a stream do any work, which the interface does not offer and this backend's streams do."""
    assert isinstance(stream, HostStream)
    stream.enqueue(lambda: void(work()))


def test_work_on_a_stream_runs_in_order_and_later(device: HostDevice) -> None:
    memory, stream, gate = device.allocate(1000), device.create_stream(), threading.Event()
    enqueue(stream, lambda: gate.wait(30))
    for value in range(50):
        device.fill(memory.address, value, 1000, stream)
    device.copy(memory.address, memory.address + 500, 500, stream)
    assert not stream.query()
    with pytest.raises(StallTimeout):
        stream.synchronize(0.05)
    gate.set()
    stream.synchronize(30)
    assert stream.query()
    assert content(memory) == bytes([49]) * 1000
    stream.close()
    stream.close()
    with pytest.raises(UsageError, match="closed"):
        device.fill(memory.address, 0, 1, stream)


def test_an_error_on_a_stream_is_raised_once(device: HostDevice) -> None:
    stream = device.create_stream()

    def fail() -> None:
        raise LookupError("of the work")

    enqueue(stream, fail)
    with pytest.raises(LookupError):
        stream.synchronize(30)
    stream.synchronize(30)


def test_events_order_streams_and_tell_the_time(device: HostDevice) -> None:
    first, second = device.create_stream(), device.create_stream()
    begin, end, never = device.create_event(), device.create_event(), device.create_event()
    memory = device.allocate(2)
    never.wait(second)
    never.synchronize(0.01)
    begin.record(first)
    enqueue(first, lambda: time.sleep(0.1))
    device.fill(memory.address, 1, 1, first)
    end.record(first)
    end.wait(second)
    device.copy(memory.address + 1, memory.address, 1, second)
    with pytest.raises(UsageError):
        begin.elapsed(never)
    second.synchronize(30)
    assert content(memory) == b"\1\1"
    end.synchronize(30)
    assert 0.1 <= begin.elapsed(end) < 30
    assert end.elapsed(begin) < 0


def test_an_event_that_is_not_reached_has_a_deadline(device: HostDevice) -> None:
    stream, event, gate = device.create_stream(), device.create_event(), threading.Event()
    enqueue(stream, lambda: gate.wait(30))
    event.record(stream)
    with pytest.raises(StallTimeout):
        event.synchronize(0.05)
    gate.set()
    event.synchronize(30)


def test_native_memory_has_no_name(device: HostDevice) -> None:
    device.allocate(10)
    assert not [name for name in os.listdir("/dev/shm") if "hal" in name]
    arena = _native.Arena(1 << 20)
    assert not os.get_inheritable(arena.fd)
    arena.discard(0, 4096)
    with pytest.raises(OSError, match="giving back"):
        arena.discard(0, 0)
