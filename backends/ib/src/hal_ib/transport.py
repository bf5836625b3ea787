"""The transport: endpoints, registrations and connections, with the checks and errors of HAL's interface."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
import time
from typing import Any

from hal.interface.capability import Capability
from hal.interface.device import Memory
from hal.interface.errors import (
    BackendUnavailable,
    HalError,
    NotSupported,
    PeerFailure,
    StallTimeout,
    TransportError,
    UsageError,
)
from hal.interface.transport import Connection, Registration, Transport
from hal_ib import verbs
from hal_ib.choice import Choice
from hal_ib.settings import IbSettings
from hal_ib.verbs import Address, Status
from hal_ib.wire import Endpoint, Key

_SLICE = 0.1
"""Seconds of waiting between looks at whether the program was interrupted."""


class IbRegistration(Registration):
    """Memory that the device reads and writes."""

    def __init__(self, region: verbs.Region, memory: Memory, held: set[IbRegistration]) -> None:
        self._region = region
        self._held = held
        held.add(self)
        self.address = memory.address
        self.nbytes = memory.nbytes
        self.lkey = region.lkey
        self.rkey = region.rkey
        self.closed = False
        self._handle: int | None = None

    @property
    def key(self) -> bytes:
        """Address, size and remote key, as bytes."""
        return Key(self.rkey, self.address, self.nbytes).pack()

    @property
    def handle(self) -> int:
        """See `Registration.handle`; `NotSupported` where pyverbs posts."""
        if not self._region.native_door:
            return super().handle
        if self._handle is None:
            from hal_ib import _native

            self._handle = _native.add_local(self.address, self.nbytes, self.lkey)
        return self._handle

    def close(self) -> None:
        """Close it; closing twice is allowed."""
        self.closed = True
        if self._handle is not None:
            from hal_ib import _native

            _native.remove_local(self._handle)
        self._region.close()
        self._held.discard(self)


class IbConnection(Connection):
    """A connection over queue pairs of a reliable connection."""

    def __init__(self, link: verbs.Link, atomic: bool, held: set[IbConnection]) -> None:
        self.link = link
        self._held = held
        held.add(self)
        self._atomic = atomic
        self._keys: dict[bytes, Key] = {}
        self._error: HalError | None = None
        self._door = link.door()

    def put(self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int) -> None:
        """An RDMA WRITE, inline where it is small."""
        place = self._place(key, remote_offset, local, offset, nbytes)
        if nbytes and (status := self.link.put(*place, nbytes)):
            raise self._failed(status, "put")

    def get(self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int) -> None:
        """An RDMA READ."""
        place = self._place(key, remote_offset, local, offset, nbytes)
        if nbytes and (status := self.link.get(*place, nbytes)):
            raise self._failed(status, "get")

    def atomic_add(self, key: bytes, remote_offset: int, value: int) -> None:
        """An RDMA FETCH_ADD."""
        if not self._atomic:
            raise NotSupported("this RDMA device has no atomic operations: capability atomic_add is not declared")
        if remote_offset % 8:
            raise UsageError(f"a counter at {remote_offset} is not aligned to 8 bytes")
        target = self._remote(key, remote_offset, 8)
        if status := self.link.add(target.address + remote_offset, target.rkey, value % 2**64):
            raise self._failed(status, "atomic_add")

    def flush(self, timeout: float) -> None:
        """Wait for the completion of all that was posted."""
        self._usable()
        end = time.monotonic() + timeout
        while (status := self.link.flush(min(_SLICE, max(0.0, end - time.monotonic())))) is Status.TIMEOUT:
            if time.monotonic() >= end:
                raise self._failed(status, "flush", f"operations were not complete within {timeout:g} s")
        if status:
            raise self._failed(status, "flush")

    def resolve(self, key: bytes) -> int:
        """See `Connection.resolve`."""
        self._usable()
        target = Key.unpack(key)
        return (
            super().resolve(key)
            if self._door is None
            else self._door.resolve(target.address, target.nbytes, target.rkey)
        )

    def native(self) -> int:
        """See `Connection.native`."""
        return super().native() if self._door is None else self._door.address

    def close(self) -> None:
        """Close it; closing twice is allowed."""
        if self._door is not None:
            self._door.close()
        if self._error is None:
            self._error = TransportError("the connection is closed")
        self.link.close()
        self._held.discard(self)

    def _usable(self) -> None:
        if self._error is not None:
            raise type(self._error)(self._error.message, operation=self._error.operation)

    def _place(
        self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int
    ) -> tuple[int, int, int, int]:
        """Remote address and key, local address and key, of a transfer that is in bounds on both sides."""
        self._usable()
        if not isinstance(local, IbRegistration):
            raise UsageError(f"the local memory is registered with another transport: {type(local).__name__}")
        if local.closed:
            raise UsageError("the local registration was closed")
        if offset < 0 or nbytes < 0 or offset + nbytes > local.nbytes:
            raise UsageError(f"{nbytes} bytes from {offset} are not within the {local.nbytes} bytes registered here")
        target = self._remote(key, remote_offset, nbytes)
        return target.address + remote_offset, target.rkey, local.address + offset, local.lkey

    def _remote(self, key: bytes, offset: int, nbytes: int) -> Key:
        self._usable()
        target = self._keys.get(key)
        if target is None:
            target = self._keys[key] = Key.unpack(key)
        if offset < 0 or offset + nbytes > target.nbytes:
            raise UsageError(f"{nbytes} bytes from {offset} are not within the peer's {target.nbytes} bytes")
        return target

    def _failed(self, status: Status, operation: str, why: str = "a full queue did not empty in time") -> HalError:
        """The error of this call, and of all later ones."""
        kind: type[HalError] = StallTimeout
        if status is Status.FAILED:
            code, vendor = self.link.failure
            kind = PeerFailure if code in verbs.PEER_GONE else TransportError
            why = verbs.status_name(code) if code > 0 else f"posting failed: {os.strerror(-code)}"
            why += f" (status {code}, vendor error {vendor})" if code > 0 else ""
        self._error = kind(f"RDMA operation failed: {why}" if status is Status.FAILED else why, operation=operation)
        return kind(self._error.message, operation=operation)


class IbTransport(Transport):
    """An opened port of an RDMA device."""

    def __init__(self, choice: Choice, settings: IbSettings) -> None:
        self.choice = choice
        self._settings = settings
        try:
            self._adapter = verbs.open_adapter(choice, settings)
        except (ImportError, OSError) as error:
            raise BackendUnavailable(f"{choice.port.name} does not open: {error}; see `hal doctor`") from error
        self._lock = threading.Lock()
        self._waiting: dict[bytes, tuple[Endpoint, verbs.Link]] = {}
        # held until they are closed: a peer uses them, whether anybody here still names them or not
        self._connections: set[IbConnection] = set()
        self._registrations: set[IbRegistration] = set()
        self._closed = False

    @property
    def capabilities(self) -> frozenset[Capability]:
        """GET; ATOMIC_ADD where the device has atomics; NATIVE_POSTING where the compiled module posts."""
        found = {Capability.GET}
        if self._adapter.atomic:
            found.add(Capability.ATOMIC_ADD)
        if self._settings.posting == "native":
            found.add(Capability.NATIVE_POSTING)
        return frozenset(found)

    def endpoint(self) -> bytes:
        """Fresh queue pairs, as bytes for the peer."""
        self._open()
        with _device_errors("queue pairs cannot be made"):
            link = self._adapter.link()
        gid = self.choice.gid
        psn = secrets.randbelow(1 << 24)
        endpoint = Endpoint(gid.kind, gid.value, self._adapter.lid, self._adapter.mtu, psn, link.numbers)
        packed = endpoint.pack()
        with self._lock:
            self._waiting[packed] = endpoint, link
        return packed

    def connect(self, own: bytes, peer: bytes, timeout: float) -> IbConnection:
        """Bring both sides' queue pairs together."""
        self._open()
        other = Endpoint.unpack(peer)
        with self._lock:
            known = self._waiting.pop(own, None)
        if known is None:
            raise UsageError("the own endpoint is none that this transport made, or it is connected already")
        endpoint, link = known
        try:
            self._connect(endpoint, other, link, timeout)
        except BaseException:
            link.close()
            raise
        return IbConnection(link, self._adapter.atomic, self._connections)

    def _connect(self, own: Endpoint, peer: Endpoint, link: verbs.Link, timeout: float) -> None:
        if own.kind != peer.kind:
            raise UsageError(f"this side is on {own.kind}, the peer on {peer.kind}: see ib.device and ib.gid_index")
        if len(own.numbers) != len(peer.numbers):
            counts = f"{len(own.numbers) - 1} here, {len(peer.numbers) - 1} at the peer"
            raise UsageError(f"ib.queues differs: {counts}")
        # within a subnet InfiniBand goes by LID; what has none, or another subnet, needs the global address
        is_global = own.kind != "InfiniBand" or not peer.lid or own.gid[:8] != peer.gid[:8]
        to = Address(peer.gid, self.choice.gid.index, is_global, peer.lid, min(own.mtu, peer.mtu))
        with _device_errors("queue pairs cannot be connected"):
            link.arrange(to, peer.numbers, own.psn, peer.psn)
            end = time.monotonic() + timeout
            while link.knock(min(_SLICE, max(0.0, end - time.monotonic()))) is not Status.OK:
                if time.monotonic() >= end:
                    raise StallTimeout(f"the peer has not connected within {timeout:g} s", operation="connect")

    def register(self, memory: Memory) -> Registration:
        """Register memory that the processor reaches; `NotSupported` for other memory."""
        self._open()
        device = memory.device
        if memory.nbytes <= 0:
            raise UsageError(f"{memory.nbytes} bytes cannot be registered")
        if device is not None and Capability.HOST_MAPPED not in device.capabilities:
            raise NotSupported(
                f"memory of {device.properties.name} is registered only where its processor can reach it: "
                f"capability {Capability.HOST_MAPPED.value}"
            )
        with _device_errors(f"{memory.nbytes} bytes cannot be registered"):
            region = self._adapter.register(memory.address, memory.nbytes)
        return IbRegistration(region, memory, self._registrations)

    def close(self) -> None:
        """Close it; closing twice is allowed."""
        if self._closed:
            return
        self._closed = True
        with self._lock:
            waiting = [link for _, link in self._waiting.values()]
            self._waiting.clear()
        for connection in list(self._connections):
            connection.close()
        for link in waiting:
            link.close()
        for registration in list(self._registrations):
            registration.close()
        self._adapter.close()

    def _open(self) -> None:
        if self._closed:
            raise UsageError("the transport is closed")


@contextlib.contextmanager
def _device_errors(what: str) -> Any:
    try:
        yield
    except HalError:
        raise
    except OSError as error:
        remedy = ""
        if error.errno in (errno.ENOMEM, errno.EAGAIN):
            remedy = "; the limit on locked memory may be too low (ulimit -l), see `hal doctor`"
        raise TransportError(f"{what}: {error}{remedy}") from error
