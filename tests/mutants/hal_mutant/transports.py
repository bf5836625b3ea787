"""Transports."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

from hal.interface.capability import Capability
from hal.interface.errors import StallTimeout, TransportError, UsageError
from hal.interface.transport import Registration
from hal_mutant.catalogue import breaks
from hal_mutant.parts import Connection, Transport


@breaks("HAL-TRN-002", "Off by one at a tail: a put of an odd length lacks the last byte.")
class TransportWithoutTail(Connection):
    def put(self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int) -> None:
        super().put(key, remote_offset, local, offset, nbytes - (nbytes > 1 and nbytes % 2))


class Posted(Connection):
    """A connection whose puts are only noted down."""

    def __init__(self, *arguments: Any) -> None:
        self.posted: list[Any] = []
        super().__init__(*arguments)

    def put(self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int) -> None:
        self._local(local, offset, nbytes)
        self.posted.append(partial(super().put, key, remote_offset, local, offset, nbytes))


@breaks("HAL-TRN-003", "A flush does nothing: puts are done with the one that comes after the next.")
class NothingFlushed(Posted):
    def flush(self, timeout: float) -> None:
        for put in self.posted[:-1]:
            put()
        del self.posted[:-1]
        super().flush(timeout)


@breaks("HAL-TRN-004", "What is posted is done in the opposite order.")
class PostedBackwards(Posted):
    def flush(self, timeout: float) -> None:
        for put in reversed(self.posted):
            put()
        self.posted.clear()
        super().flush(timeout)


@breaks("HAL-TRN-005", "A get reads one byte further on.")
class GetsTheNext(Connection):
    def get(self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int) -> None:
        super().get(key, remote_offset + 1, local, offset, nbytes)


@breaks("HAL-TRN-006", "Of the additions to a counter every eighth is lost.")
class LosesAdditions(Connection):
    added = 0

    def atomic_add(self, key: bytes, remote_offset: int, value: int) -> None:
        self.added += 1
        if self.added % 8:
            super().atomic_add(key, remote_offset, value)


@breaks("HAL-TRN-007", "A capability is hidden, and works.")
class HiddenGet(Transport):
    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset()


@breaks("HAL-TRN-008", "A transfer of nothing is refused.")
class RefusesEmptyPuts(Connection):
    def put(self, key: bytes, remote_offset: int, local: Registration, offset: int, nbytes: int) -> None:
        if not nbytes:
            raise UsageError("nothing to put")
        super().put(key, remote_offset, local, offset, nbytes)


@breaks("HAL-TRN-009", "The wrong class of error where nobody connects.")
class ConnectTimesOut(Transport):
    def connect(self, own: bytes, peer: bytes, timeout: float) -> Any:
        try:
            return super().connect(own, peer, timeout)
        except StallTimeout as error:
            raise TimeoutError(error.message) from None


@breaks("HAL-TRN-010", "A connection is closed once.")
class ClosedOnce(Connection):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise UsageError("it is closed")
        self.closed = True
        super().close()


@breaks("HAL-TRN-011", "An error is swallowed: puts to memory that was withdrawn seem to arrive.")
class SeemsToArrive(Connection):
    def flush(self, timeout: float) -> None:
        with contextlib.suppress(TransportError):
            super().flush(timeout)


@breaks("HAL-TRN-012", "A range outside of the registration is an error of the language.")
class RangeOfTheLanguage(Connection):
    def _local(self, local: Registration, offset: int, nbytes: int) -> int:
        try:
            return super()._local(local, offset, nbytes)
        except UsageError as error:
            raise IndexError(error.message) from None
