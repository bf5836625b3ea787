"""Deadlines, deaths, aborts, and what is left behind."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import Any, ClassVar

from hal.interface import executor as interface
from hal.interface.errors import BackendUnavailable, PeerFailure, StallTimeout, UsageError, WorldError
from hal.interface.executor import Call, Membership
from hal.plan.lower import Program
from hal_mutant.catalogue import breaks
from hal_mutant.parts import Device, Executable, Executor


@breaks("HAL-FLT-001", "A deadline passes too early.")
class EarlyDeadline(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        super().run(src, src_bytes, dst, dst_bytes, 0.2 * timeout if timeout < 1 else timeout)


@breaks("HAL-FLT-001", "The deadline of a call is ignored.", slow=True)
class NoDeadline(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        super().run(src, src_bytes, dst, dst_bytes, timeout and 60 * timeout)


@breaks("HAL-FLT-002", "An error is swallowed: the rank that was late hears of nothing.")
class LateAndSilent(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        try:
            super().run(src, src_bytes, dst, dst_bytes, timeout)
        except StallTimeout:
            if self.executor.rank != self.executor.size - 1:
                raise


@breaks("HAL-FLT-003", "A stall does not say who did not come.")
class NamesNobody(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        try:
            super().run(src, src_bytes, dst, dst_bytes, timeout)
        except StallTimeout as error:
            raise StallTimeout("a deadline has passed", rank=error.rank) from None


@breaks("HAL-FLT-004", "An error is swallowed: calls after a failure do nothing.")
class SilentAfterFailure(Executable):
    failed = False

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        if self.failed:
            return
        try:
            super().run(src, src_bytes, dst, dst_bytes, timeout)
        except WorldError:
            self.failed = True
            raise


@breaks("HAL-FLT-005", "The wrong class of error when a rank has died.")
class DeathIsAStall(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        try:
            super().run(src, src_bytes, dst, dst_bytes, timeout)
        except PeerFailure as error:
            if "has died" in error.message:
                raise StallTimeout(error.message, rank=error.rank) from None
            raise


@breaks("HAL-FLT-007", "Who leaves is not named.")
class LeavesUnnamed(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        try:
            super().run(src, src_bytes, dst, dst_bytes, timeout)
        except PeerFailure as error:
            error.peer = error.peer if "aborted" in error.message else self.executor.rank
            raise


@breaks("HAL-FLT-008", "An abort is a stall to the others.")
class AbortIsAStall(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        try:
            super().run(src, src_bytes, dst, dst_bytes, timeout)
        except PeerFailure as error:
            if "aborted" in error.message:
                raise StallTimeout(error.message, rank=error.rank) from None
            raise


@breaks("HAL-FLT-008", "An abort does nothing.", slow=True)
class AbortDoesNothing(Executor):
    def abort(self) -> None:
        pass


@breaks("HAL-FLT-009", "An error is swallowed: that ranks call different things is not looked at.")
class NeverDisagrees(Executor):
    def load(self, call: Call, program: Program, mapped: Program | None = None) -> interface.Executable:
        return super().load(replace(call, count=0, op=0, dtype=0, root=0, plan=0), program, mapped)


class Remembers(Executor):
    """An executor that knows of all the others of its process."""

    all: ClassVar[list[Executor]] = []

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.all.append(self)

    def load(self, call: Call, program: Program, mapped: Program | None = None) -> interface.Executable:
        return _Remembered(super().load(call, program, mapped), self)

    def failed(self) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        super().abort()
        self.failed()


class _Remembered(interface.Executable):
    def __init__(self, inner: interface.Executable, executor: Remembers) -> None:
        self.inner = inner
        self.executor = executor

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        try:
            self.inner.run(src, src_bytes, dst, dst_bytes, timeout)
        except WorldError:
            self.executor.failed()
            raise


@breaks("HAL-FLT-010", "When a group has failed all others of its process fail.")
class FailTogether(Remembers):
    def failed(self) -> None:
        for one in [one for one in self.all if not one.closed and one.device is self.device]:
            one.inner.abort()


@breaks("HAL-FLT-011", "A device whose group has failed makes no other.")
class NoSecondChance(Remembers):
    def __init__(self, inner: interface.Executor, device: Any, membership: Membership) -> None:
        super().__init__(inner, device, membership)
        if getattr(device, "spoilt", False):
            raise BackendUnavailable("a group of this device has failed")

    def failed(self) -> None:
        self.device.spoilt = True  # type: ignore[attr-defined]


@breaks("HAL-FLT-012", "A leak for each group: a file descriptor.")
class LeaksADescriptorOfGroups(Device):
    def create_executor(self, membership: Membership) -> interface.Executor:
        os.open(os.devnull, os.O_RDONLY)
        return super().create_executor(membership)


@breaks("HAL-FLT-013", "A leak for each group: memory.")
class LeaksMemoryOfGroups(Device):
    def create_executor(self, membership: Membership) -> interface.Executor:
        made = super().create_executor(membership)
        self._segment.allocate(made.scratch_bytes)
        return made


@breaks("HAL-FLT-014", "A rank that is done and leaves makes the calls of the others fail.", ranks=3)
class LeavingAborts(Executor):
    def close(self) -> None:
        if not self.closed:
            self.inner.abort()
        super().close()


@breaks("HAL-FLT-015", "Aborting twice is refused.")
class AbortsOnce(Executor):
    aborted = False

    def abort(self) -> None:
        if self.aborted:
            raise UsageError("it is aborted already")
        self.aborted = True
        super().abort()


@breaks("HAL-FLT-016", "An error is swallowed: a failure of which some blocks hear nothing is none.")
class HalfAFailure(Executor):
    def load(self, call: Call, program: Program, mapped: Program | None = None) -> interface.Executable:
        made = super().load(call, program, mapped)
        return _Swallows(made) if len(program.blocks) > 1 else made


class _Swallows(interface.Executable):
    def __init__(self, inner: interface.Executable) -> None:
        self.inner = inner

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        with contextlib.suppress(StallTimeout):
            self.inner.run(src, src_bytes, dst, dst_bytes, timeout)


@breaks("HAL-FLT-017", "An error is swallowed: messages of a group that has failed do nothing.")
class SilentPairs(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        try:
            super().run(src, src_bytes, dst, dst_bytes, timeout)
        except WorldError:
            if not self.executor.pair_of_ranks:
                raise
