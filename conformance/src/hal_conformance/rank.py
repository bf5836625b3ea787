"""What a test gets on every rank: its place in the group, the backend, memory to work on, chance, and deadlines."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal import config
from hal.bootstrap import Store
from hal.interface.capability import Capability
from hal.interface.device import Device, Memory, Stream
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.executor import Executable, Executor
from hal.interface.transport import Transport
from hal.plan.layout import Layout
from hal.plan.model import Plan
from hal.plugins import Backend, discover
from hal.runtime.group import Group
from hal_conformance.answers import Place, Task
from hal_conformance.idle import idle_plan

Array = NDArray[Any]

NO_DEVICE: Any = None
"""The device of memory that has none."""

TIMEOUT = 30.0
"""Seconds for calls that are not themselves about deadlines; the machine may be busy."""


class Ordinary:
    """Memory of this process that no device has allocated, as transports take it: an array, and where it lies."""

    def __init__(self, nbytes: int) -> None:
        self.array = np.zeros(nbytes, np.uint8)
        self.memory = Memory(int(self.array.ctypes.data), nbytes, NO_DEVICE)


class Rank:
    """One rank of one test. What it opens is closed when the test ends; nothing is kept from test to test."""

    def __init__(
        self, rank: int, place: Place, task: Task, store: Callable[[], Store], die: Callable[[], None]
    ) -> None:
        self.id = rank
        self.size = place.size
        self.threads = place.threads
        self.quick = place.quick
        self.random = random.Random(task.seed)
        """Chance that is the same on all ranks, as long as they draw alike."""
        self.own_random = random.Random(f"{task.seed}/{rank}")
        self._place = place
        self._task = task
        self._store = store
        self._die = die
        self._opened = contextlib.ExitStack()
        self._device: Device | None = None
        self._transport: Transport | None = None
        self._group: Group | None = None
        self._meetings = 0

    # the backend

    @property
    def backend(self) -> Backend:
        """The plug-in under test."""
        return discover().get(self._place.backend)

    @property
    def settings(self) -> Any:
        """The backend's section of the configuration."""
        return config.load().section(self._place.backend)

    @property
    def device(self) -> Device:
        """This rank's device, opened when it is first asked for."""
        if self._device is None:
            self._device = self.open_device()
        return self._device

    def open_device(self) -> Device:
        """Another device of the backend: ranks take turns at those there are."""
        devices = len(self.backend.probe().devices) if self.size > 1 else 1
        opened = self.backend.open_device(self.settings, self.id % max(devices, 1))
        self._opened.callback(opened.close)
        return opened

    @property
    def transport(self) -> Transport:
        """The transport, opened when it is first asked for."""
        if self._transport is None:
            self._transport = self.backend.open_transport(self.settings)
            self._opened.callback(self._transport.close)
        return self._transport

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the device declares."""
        return self.device.capabilities

    def stream(self) -> Stream:
        """A new stream."""
        stream = self.device.create_stream()
        self._opened.callback(stream.close)
        return stream

    # the others

    @property
    def store(self) -> Store:
        """The store in which the ranks meet."""
        return self._store()

    @property
    def group(self) -> Group:
        """The group of all ranks, made when it is first asked for; all ranks ask alike."""
        if self._group is None:
            self._group = self.make_group("group")
        return self._group

    @property
    def executor(self) -> Executor:
        """The executor of the group."""
        return self.group.executor

    @property
    def others(self) -> list[int]:
        """The ranks other than this one."""
        return [rank for rank in range(self.size) if rank != self.id]

    def make_group(self, name: str, timeout: float = TIMEOUT, *, keep: bool = True) -> Group:
        """Another group of all ranks, which the test closes by itself, and lets go of, where it is not to be kept."""
        members = tuple(range(self.size))
        name = f"{self._task.number}.{name}"
        # the suite's own tests prove its plans; here they shall run as they are
        group = Group(self.device, self.store, members, name=name, timeout=timeout, verify=False)
        if keep:
            self._opened.callback(group.close)
        return group

    def split(self, color: int | None, key: int = 0) -> Group | None:
        """A part of the group, closed when the test ends."""
        part = self.group.split(color, key)
        if part is not None:
            self._opened.callback(part.close)
        return part

    def exchange(self, value: bytes = b"") -> list[bytes]:
        """Give `value` to all ranks through the store, the backend aside; everybody's, by rank."""
        self._meetings += 1
        key = f"{self._task.number}/meeting/{self._meetings}"
        return self.store.all_gather(key, value, tuple(range(self.size)), TIMEOUT)

    def die(self) -> None:
        """End this rank's process as a crash would; for ranks that are processes."""
        self._die()
        os.kill(os.getpid(), signal.SIGKILL)

    # chance and effort

    def times(self, full: int, quick: int) -> int:
        """How often to repeat something."""
        return quick if self.quick else full

    def delay(self, most: float = 0.002) -> None:
        """Wait a moment, on each rank another one, so that ranks come in any order; mostly not at all."""
        chance = self.own_random.random()
        if chance < 0.25:
            time.sleep(chance * 4 * most)

    # memory

    def allocate(self, nbytes: int) -> Memory:
        """Memory of this device, freed when the device is closed."""
        return self.device.allocate(max(nbytes, 1))

    def write(self, memory: Memory | int, data: bytes | Array) -> None:
        """Store data to the device's memory."""
        array = np.ascontiguousarray(np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data)
        if array.nbytes:
            self.device.copy(_address(memory), int(array.ctypes.data), array.nbytes)

    def read(self, memory: Memory | int, nbytes: int | None = None) -> bytes:
        """What the device's memory holds."""
        size = memory.nbytes if nbytes is None and isinstance(memory, Memory) else nbytes
        array = np.empty(size or 0, np.uint8)
        if array.nbytes:
            self.device.copy(int(array.ctypes.data), _address(memory), array.nbytes)
        return array.tobytes()

    def to_device(self, array: Array) -> Memory:
        """New memory of the device that holds `array`."""
        memory = self.allocate(array.nbytes)
        self.write(memory, array)
        return Memory(memory.address, array.nbytes, self.device)

    def from_device(self, memory: Memory | int, count: int, dtype: DType) -> Array:
        """`count` elements of the device's memory."""
        return np.frombuffer(self.read(memory, count * dtype.itemsize), dtype.numpy)

    def ordinary(self, nbytes: int) -> Ordinary:
        """Ordinary memory, for a transport."""
        return Ordinary(nbytes)

    # plans

    def load(
        self,
        plan: Plan,
        count: int,
        dtype: DType = DType.UINT8,
        op: ReduceOp = ReduceOp.SUM,
        *,
        group: Group | None = None,
        layout: Callable[[Plan], Layout] | None = None,
    ) -> Executable:
        """Bind a plan, in mapped memory where it reaches that of others."""
        where = group or self.group
        mapped = idle_plan(plan) is not plan
        if mapped:
            return where.load(idle_plan(plan), count, dtype, op, mapped=plan, layout=layout)
        return where.load(plan, count, dtype, op, layout=layout)

    def run(
        self,
        plan: Plan,
        inputs: Sequence[Array],
        op: ReduceOp = ReduceOp.SUM,
        *,
        count: int,
        launches: int = 1,
        group: Group | None = None,
    ) -> list[Array]:
        """Run a plan out of place, with the input of this rank among `inputs`; its output after each launch.

        Outputs begin as garbage. `inputs` are those of all members of the group.
        """
        where = group or self.group
        dtype = DType.of(inputs[where.rank].dtype)
        part = plan.ranks[where.rank]
        own = inputs[where.rank]
        length = part.output_chunks * count // plan.split
        source, target = self.to_device(own), self.allocate(length * dtype.itemsize)
        executable = self.load(plan, count, dtype, op, group=where)
        results = []
        for launch in range(launches):
            if length:
                self.device.fill(target.address, 0xA0 + launch % 16, length * dtype.itemsize)
            self.start(executable, source, Memory(target.address, length * dtype.itemsize, self.device))
            results.append(self.from_device(target, length, dtype))
        self.device.free(Memory(source.address, max(source.nbytes, 1), self.device))
        self.device.free(target)
        return results

    def start(
        self, executable: Executable, source: Memory | None, target: Memory | None, timeout: float = TIMEOUT
    ) -> None:
        """Run what is bound, on these buffers."""
        src = (source.address, source.nbytes) if source is not None and source.nbytes else (0, 0)
        dst = (target.address, target.nbytes) if target is not None and target.nbytes else (0, 0)
        executable.run(*src, *dst, timeout)

    def close(self) -> None:
        """Close what the test has opened."""
        self._opened.close()

    def abort(self) -> None:
        """Release the other ranks, since this one has failed."""
        if self._group is not None:
            self._group.abort()


def _address(memory: Memory | int) -> int:
    return memory.address if isinstance(memory, Memory) else memory
