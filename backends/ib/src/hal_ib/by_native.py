"""libibverbs through the compiled module: posting and polling without the interpreter's lock."""

from __future__ import annotations

from collections.abc import Sequence

from hal_ib import _native, verbs
from hal_ib.choice import Choice
from hal_ib.settings import IbSettings
from hal_ib.verbs import Address, Status


class NativeRegion(verbs.Region):
    """Memory registered by the compiled module."""

    native_door = True

    def __init__(self, region: _native.Region) -> None:
        self._region = region
        self.lkey = region.lkey
        self.rkey = region.rkey

    def close(self) -> None:
        """Free it; closing twice is allowed."""
        self._region.close()


class NativeLink(verbs.Link):
    """Queue pairs of the compiled module."""

    def __init__(self, adapter: _native.Adapter, settings: IbSettings) -> None:
        self._link: _native.Link | None = _native.Link(
            adapter,
            settings.queues,
            settings.queue_depth,
            settings.inline_size,
            settings.stripe_size,
            settings.ack_exponent,
            settings.retries,
            settings.rnr_retries,
        )
        self._patience = settings.post_timeout
        self._numbers = tuple(self._link.numbers())

    @property
    def native(self) -> _native.Link:
        """The compiled module's part; `OSError` once it is closed."""
        if self._link is None:
            raise OSError("the link is closed")
        return self._link

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of the queue pair for knocking, then of those for data."""
        return self._numbers

    def arrange(self, to: Address, numbers: Sequence[int], own_psn: int, peer_psn: int) -> None:
        """Reset all, and bring them to where they send and receive."""
        link = self.native
        link.arrange(to.gid, to.own_gid_index, to.is_global, to.lid, to.mtu, list(numbers), own_psn, peer_psn)

    def knock(self, timeout: float) -> Status:
        """A write of nothing, until one is acknowledged."""
        return Status(self.native.knock(timeout))

    def put(self, remote: int, rkey: int, local: int, lkey: int, nbytes: int) -> Status:
        """Post an RDMA WRITE."""
        return Status(self.native.put(remote, rkey, local, lkey, nbytes, self._patience))

    def get(self, remote: int, rkey: int, local: int, lkey: int, nbytes: int) -> Status:
        """Post an RDMA READ."""
        return Status(self.native.get(remote, rkey, local, lkey, nbytes, self._patience))

    def add(self, remote: int, rkey: int, value: int) -> Status:
        """Post an RDMA FETCH_ADD."""
        return Status(self.native.add(remote, rkey, value, self._patience))

    def flush(self, timeout: float) -> Status:
        """Wait for the completion of all that was posted."""
        return Status(self.native.flush(timeout))

    @property
    def failure(self) -> tuple[int, int]:
        """The first failed completion."""
        return self.native.failure

    @property
    def reported(self) -> int:
        """Completions polled so far."""
        return self.native.reported

    def door(self) -> verbs.Door:
        """The native door."""
        return _native.Door(self.native)

    def break_it(self) -> None:
        """Put the queue pairs for data into the error state."""
        self.native.break_it()

    def close(self) -> None:
        """Free it; closing twice is allowed."""
        self._link = None


class NativeAdapter(verbs.Adapter):
    """A device opened by the compiled module."""

    def __init__(self, choice: Choice, settings: IbSettings) -> None:
        try:
            _native.load()
        except RuntimeError as error:
            raise ImportError(str(error)) from None
        self._settings = settings
        self._adapter: _native.Adapter | None = _native.Adapter(choice.port.device, choice.port.number)
        self.mtu = self._adapter.mtu
        self.lid = self._adapter.lid
        self.atomic = self._adapter.atomic

    @property
    def _open(self) -> _native.Adapter:
        if self._adapter is None:
            raise OSError("the device is closed")
        return self._adapter

    def register(self, address: int, nbytes: int) -> NativeRegion:
        """Register memory of this process."""
        return NativeRegion(_native.Region(self._open, address, nbytes))

    def register_dmabuf(self, fd: int, offset: int, nbytes: int, address: int) -> NativeRegion:
        """Register memory of another device."""
        return NativeRegion(_native.Region(self._open, fd, offset, nbytes, address))

    def link(self) -> NativeLink:
        """Fresh queue pairs."""
        return NativeLink(self._open, self._settings)

    def close(self) -> None:
        """Free it; closing twice is allowed."""
        self._adapter = None
