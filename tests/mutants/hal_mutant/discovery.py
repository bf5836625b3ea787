"""What a backend says of itself, and what it says it can do."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import attrs

from hal import config
from hal.interface.capability import Capability
from hal.interface.device import Device as AnyDevice
from hal.interface.device import DeviceProperties, Memory, Stream
from hal.interface.errors import HalError, NotSupported, UsageError
from hal.plugins import BackendInfo, Probe, Problem
from hal_host.settings import HostSettings
from hal_mutant.catalogue import breaks
from hal_mutant.parts import Device, Executable, Hooks


@breaks("HAL-DSC-002", "The summary has two lines.")
class SummaryOfTwoLines(Hooks):
    def describe(self) -> BackendInfo:
        return attrs.evolve(super().describe(), summary="CPUs\nof this machine")


@breaks("HAL-DSC-005", "A probe works once in a process, and raises after that.")
class ProbedOnce(Hooks):
    probed = False

    def probe(self) -> Probe:
        if ProbedOnce.probed:
            raise LookupError("it was probed already")
        ProbedOnce.probed = True
        return super().probe()


@breaks("HAL-DSC-006", "A problem comes without a remedy.")
class NoRemedy(Hooks):
    def probe(self) -> Probe:
        return attrs.evolve(super().probe(), problems=[Problem("it is slow", "")])


@breaks("HAL-DSC-007", "A device is listed that does not open.")
class OneDeviceTooMany(Hooks):
    def probe(self) -> Probe:
        return attrs.evolve(super().probe(), devices=["the first", "the second"])


@breaks("HAL-DSC-008", "Any index opens the one device there is.")
class AnyIndex(Hooks):
    def open_device(self, settings: Any, index: int) -> AnyDevice:
        return super().open_device(settings, 0)


@breaks("HAL-DSC-009", "Closing a device frees the memory of all others.")
class ClosesAll(Device):
    opened: ClassVar[list[ClosesAll]] = []

    def __init__(self, settings: HostSettings) -> None:
        super().__init__(settings)
        self.opened.append(self)

    def close(self) -> None:
        for device in self.opened:
            super(ClosesAll, device).close()


@breaks("HAL-DSC-011", "Opening a device leaves a file descriptor behind.")
class LeaksADescriptor(Hooks):
    def open_device(self, settings: Any, index: int) -> AnyDevice:
        os.open(os.devnull, os.O_RDONLY)
        return super().open_device(settings, index)


@breaks("HAL-CFG-002", "A setting does not say what it is for.")
class UnexplainedSetting(Hooks):
    def settings(self) -> type:
        return attrs.make_class("Settings", {"knob": config.setting(1, config.kinds.integer(), " ")}, (HostSettings,))


@breaks("HAL-CAP-001", "Capabilities are a list.")
class ListOfCapabilities(Device):
    @property
    def capabilities(self) -> Any:
        return list(super().capabilities)


@breaks("HAL-CAP-002", "The memory that a device says it has is what is free.")
class ShrinkingDevice(Device):
    @property
    def properties(self) -> DeviceProperties:
        told = super().properties
        return DeviceProperties(
            told.name, told.index, told.memory - sum(self._allocated.values()), told.compute_units, told.details
        )


@breaks("HAL-CAP-003", "A capability is hidden, and works.")
class HiddenExecutor(Device):
    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities - {Capability.EXECUTOR}


@breaks("HAL-CAP-004", "A refusal does not name the capability.")
class SpeechlessRefusal(Device):
    def compile(self, *arguments: Any, **more: Any) -> Any:
        raise NotSupported("no")

    launch = compile


@breaks("HAL-CAP-005", "After a refusal the device does nothing more.")
class OffendedDevice(Device):
    offended = False

    def compile(self, *arguments: Any, **more: Any) -> Any:
        self.offended = True
        return super().compile(*arguments, **more)

    def fill(self, dst: int, value: int, nbytes: int, stream: Stream | None = None) -> None:
        if not self.offended:
            super().fill(dst, value, nbytes, stream)


@breaks("HAL-CAP-006", "An amount that fits in no register is an error of the language.")
class OverflowingAmounts(Device):
    def allocate(self, nbytes: int) -> Memory:
        if nbytes >= 1 << 62:
            raise OverflowError("it does not fit")
        return super().allocate(nbytes)


@breaks("HAL-CAP-007", "Errors of a group carry the next rank.")
class WrongRankInErrors(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        try:
            super().run(src, src_bytes, dst, dst_bytes, timeout)
        except HalError as error:
            error.rank = self.executor.rank + 1
            raise


@breaks("HAL-KRN-001", "A capability is declared and half done: whatever is compiled is a program.")
class CompilesAnything(Device):
    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.COMPILE}

    def compile(self, *arguments: Any, **more: Any) -> Any:
        return object()

    def launch(self, *arguments: Any, **more: Any) -> None:
        if not arguments:
            raise UsageError("nothing to launch")
