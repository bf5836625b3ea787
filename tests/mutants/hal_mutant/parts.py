"""The host backend in parts, each of which does what the host's does; a mutant is a class derived from one of them."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hal_double import transport
from numpy.typing import NDArray

from hal.interface import executor as interface
from hal.interface.device import Device as AnyDevice
from hal.interface.device import Event as AnyEvent
from hal.interface.device import Stream as AnyStream
from hal.interface.dtypes import DType
from hal.interface.errors import HalError
from hal.interface.executor import Call, Membership
from hal.plan.lower import Program
from hal.plugins import BackendInfo, Probe
from hal_host import plugin
from hal_host.device import HostDevice
from hal_host.settings import HostSettings
from hal_host.streams import HostEvent, HostStream
from hal_mutant.catalogue import part


class Hooks:
    """The hooks of the plug-in. The host has no transport; the double of the suite's own tests is that of this one."""

    def describe(self) -> BackendInfo:
        told = plugin.hal_describe()
        double = transport.DoubleTransport().capabilities
        return BackendInfo("mutant", told.summary, ("device", "transport"), (*told.capabilities, *double))

    def settings(self) -> type:
        return HostSettings

    def probe(self) -> Probe:
        return plugin.hal_probe()

    def open_device(self, settings: Any, index: int) -> AnyDevice:
        plugin.hal_open_device(settings, index).close()  # refuses an index that does not exist
        return part(Device)(settings)

    def open_transport(self) -> transport.DoubleTransport:
        return part(Transport)()


class Stream(HostStream):
    """A stream."""


class Event(HostEvent):
    """An event."""


class Device(HostDevice):
    """A device: it makes the other parts."""

    def create_stream(self) -> AnyStream:
        stream = part(Stream)()
        self._streams.append(stream)
        return stream

    def create_event(self) -> AnyEvent:
        return part(Event)()

    def create_executor(self, membership: Membership) -> interface.Executor:
        return part(Executor)(super().create_executor(membership), self, membership)


class Executor(interface.Executor):
    """An executor around the host's. It loads programs as `Programs` has them, and runs them as `Executable` does."""

    pair_of_ranks = False

    def __init__(self, inner: interface.Executor, device: AnyDevice, membership: Membership) -> None:
        self.inner = inner
        self.device = device
        self.membership = membership
        self.rank = inner.rank
        self.size = inner.size
        self.closed = False

    @property
    def scratch_bytes(self) -> int:
        return self.inner.scratch_bytes

    def load(self, call: Call, program: Program, mapped: Program | None = None) -> interface.Executable:
        programs = part(Programs)
        inners = [self.inner.load(call, program, mapped) for _ in range(programs.every - 1)]
        changed = [
            None if one is None else programs(one, call, pair=self.pair_of_ranks).changed() for one in (program, mapped)
        ]
        assert changed[0] is not None
        inners.append(self.inner.load(call, changed[0], changed[1]))
        return part(Executable)(inners, self, call)

    def pair(self, sender: int, receiver: int) -> interface.Executor:
        made = type(self)(self.inner.pair(sender, receiver), self.device, self.membership)
        made.pair_of_ranks = True
        return made

    def is_mapped(self, address: int, nbytes: int) -> bool:
        return self.inner.is_mapped(address, nbytes)

    def abort(self) -> None:
        self.inner.abort()

    def close(self) -> None:
        self.closed = True
        self.inner.close()


class Executable(interface.Executable):
    """What was loaded: where only every other launch is broken, `inners` are run in turns."""

    def __init__(self, inners: Sequence[interface.Executable], executor: Executor, call: Call) -> None:
        self.inners = inners
        self.executor = executor
        self.call = call
        self.launches = 0

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        inner = self.inners[self.launches % len(self.inners)]
        self.launches += 1
        inner.run(src, src_bytes, dst, dst_bytes, timeout)


class Hasty(Executable):
    """An executable some of whose calls return at once, and are done by a thread; the next one waits for that."""

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        lane = self.executor.inner  # pairs are asked for again and again, and are the same
        if (thread := _hasty.pop(lane, None)) is not None:
            thread.join()
        if not self.hasty():
            super().run(src, src_bytes, dst, dst_bytes, timeout)
            return
        _hasty[lane] = threading.Thread(target=self._run, args=(src, src_bytes, dst, dst_bytes, timeout), daemon=True)
        _hasty[lane].start()

    def _run(self, *arguments: Any) -> None:
        with contextlib.suppress(HalError):
            super().run(*arguments)

    def hasty(self) -> bool:
        raise NotImplementedError


_hasty: dict[interface.Executor, threading.Thread] = {}


class Programs:
    """What becomes of a lowered program before the host loads it; `steps.Changed` is where mutants begin."""

    every = 1
    """Only every so many launches are of the changed program."""

    def __init__(self, program: Program, call: Call, *, pair: bool) -> None:
        self.program = program
        self.call = call
        self.pair = pair

    def changed(self) -> Program:
        return self.program


class Results(Executable):
    """An executable whose results are changed when they are there."""

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        super().run(src, src_bytes, dst, dst_bytes, timeout)
        if dst_bytes:
            raw = (ctypes.c_char * dst_bytes).from_address(dst)
            self.change(np.frombuffer(raw, DType(self.call.dtype).numpy))

    def change(self, output: NDArray[Any]) -> None:
        raise NotImplementedError


class Transport(transport.DoubleTransport):
    """A transport over loopback sockets."""

    def connection(self, *sockets: Any) -> Connection:
        return part(Connection)(self, *sockets)


class Connection(transport.DoubleConnection):
    """A connection of it."""


Work = Callable[[], None]
