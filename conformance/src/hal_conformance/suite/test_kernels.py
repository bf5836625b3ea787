"""Compiling and launching device code; and that all which is not declared is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hal.interface.capability import Capability
from hal.interface.errors import NotSupported, UsageError
from hal.interface.executor import Membership
from hal_conformance import expect
from hal_conformance.rank import Rank

clause = pytest.mark.clause
lacks = pytest.mark.lacks


def _operations(rank: Rank) -> dict[str, tuple[Capability, Callable[[], object]]]:
    device = rank.device
    alone = Membership(0, 1, lambda value: [value], (0,))
    return {
        "create_executor": (Capability.EXECUTOR, lambda: device.create_executor(alone)),
        "compile": (Capability.COMPILE, lambda: device.compile("")),
        "launch": (Capability.COMPILE, lambda: device.launch(None, 1, 1, [])),
    }


OPERATIONS = [
    pytest.param("create_executor", marks=lacks("executor")),
    pytest.param("compile", marks=lacks("compile")),
    pytest.param("launch", marks=lacks("compile")),
]


@clause("HAL-CAP-003", "HAL-CAP-004", "HAL-CAP-005")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_not_declared_is_refused(rank: Rank, operation: str) -> None:
    capability, call = _operations(rank)[operation]
    error = expect.raises(NotSupported, call, f"{operation}, whose capability is not declared")
    expect.true(capability.value in str(error), "the message names the capability", str(error), capability.value)
    memory = rank.allocate(1000)
    rank.device.fill(memory.address, 5, 1000)
    expect.equal(rank.read(memory), b"\5" * 1000, "memory that is used after the refusal")


@clause("HAL-CAP-001", "HAL-CAP-002")
def test_capabilities_and_properties_do_not_change(rank: Rank) -> None:
    declared = rank.device.capabilities
    expect.true(isinstance(declared, frozenset), "capabilities are a frozenset", type(declared).__name__)
    strange = [one for one in declared if not isinstance(one, Capability)]
    expect.equal(strange, [], "declared things that are no Capability")
    properties = rank.device.properties
    memory = rank.allocate(1 << 20)
    rank.device.fill(memory.address, 1, 1 << 20)
    other = rank.open_device()
    for device in (rank.device, other):
        expect.equal(device.capabilities, declared, "capabilities looked at again")
        expect.equal(device.properties, properties, "properties looked at again")


@clause("HAL-KRN-001")
@pytest.mark.parametrize("source", ["}{ this is no program", "int f( {", "\0\1\2"])
def test_what_is_no_program_does_not_compile(rank: Rank, source: str) -> None:
    error = expect.raises(UsageError, lambda: rank.device.compile(source), "compiling what is no program")
    expect.true(str(error).strip(), "the message holds what the compiler says", str(error))
