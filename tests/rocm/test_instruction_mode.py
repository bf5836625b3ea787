"""The backend on the stand-in with machine code of AMD GPUs: compiled by clang, interpreted."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from hal.interface.dtypes import DType

pytestmark = pytest.mark.slow
TARGETS = ["gfx90a", "gfx942"]
BOTH = ["hip-python", "pyhip"]
RANKS = {"hip-python": "threads", "pyhip": "processes"}
"""What ranks of the suite are with a binding."""
Run = Callable[..., str]


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def interpreted(run: Run, target: str) -> Run:
    """Run a program on devices of the architecture, with a whole wavefront a block."""
    return partial(run, threads=64, MODE="instructions", ARCH=target)


def sampled(*chosen: tuple[str, str]) -> list[Any]:
    """Every architecture with every binding; those not chosen are for the exhaustive tests."""
    every = itertools.product(TARGETS, BOTH)
    return [pytest.param(*each, marks=() if each in chosen else pytest.mark.exhaustive) for each in every]


def test_the_device_says_that_it_is_interpreted(interpreted: Run, target: str) -> None:
    said = interpreted("-c", "from hal_rocm.probe import probe; print(*probe().devices)")
    assert "stand-in 0 for an AMD GPU (tests, on CPUs, its instructions interpreted)" in said
    assert target in said


def test_single_instructions(interpreted: Run) -> None:
    assert "wrong: none" in interpreted("-m", "tests.rocm.instructions")


@pytest.mark.parametrize("what", ["division", "flow"])
def test_computations(interpreted: Run, what: str) -> None:
    assert "right" in interpreted("-m", "tests.rocm.computations", what)


def types_in_turn() -> list[Any]:
    """Every architecture with every type; the slow tests take each type on one of them."""
    return [
        pytest.param(target, dtype, marks=() if dtype % 2 == TARGETS.index(target) else pytest.mark.exhaustive)
        for target, dtype in itertools.product(TARGETS, DType)
    ]


@pytest.mark.parametrize(("target", "dtype"), types_in_turn(), indirect=["target"], ids=str)
def test_arithmetic_is_the_reference_bit_for_bit(interpreted: Run, dtype: DType) -> None:
    assert "right" in interpreted("-m", "tests.rocm.computations", "arithmetic", dtype.label)


def test_an_instruction_that_is_not_known_is_named(interpreted: Run) -> None:
    said = interpreted("-m", "tests.rocm.computations", "unknown", fails=True)
    assert "stops odd at 0x" in said
    assert '"v_sad_u8 v1, v1, v1, v1": this instruction is not known' in said
    assert "hipDeviceSynchronize ends with 719" in said  # hipErrorLaunchFailure


def test_an_address_that_is_none_is_named(interpreted: Run) -> None:
    said = interpreted("-m", "tests.rocm.computations", "beyond", fails=True)
    assert '"flat_store_dword v[0:1], v2": address 8 is none of the device' in said


def clauses() -> list[Any]:
    """Every profile on every architecture with every binding; the slow tests take each with one."""
    chosen = {
        ("executor", "gfx90a", "hip-python"),
        ("packets", "gfx942", "pyhip"),
        ("semaphores", "gfx942", "pyhip"),
    }
    return [
        pytest.param(*each, marks=() if each in chosen else pytest.mark.exhaustive)
        for each in itertools.product(["executor", "packets", "semaphores"], TARGETS, BOTH)
    ]


@pytest.mark.parametrize(("profile", "target", "binding"), clauses(), indirect=["target"])
def test_clauses_of(interpreted: Run, binding: str, profile: str) -> None:
    words = ["hal", "conformance", "--backend", "rocm", "--quick", "--profile", profile]
    for test in (f"*[2-{RANKS[binding]}*", "*[1*"):
        words += ["--test", test]
    said = interpreted(*words, binding=binding, timeout=110)
    assert "verdict: partial" in said  # for the profiles that were left out


@pytest.mark.parametrize(
    ("target", "binding"), sampled(("gfx90a", "pyhip"), ("gfx942", "hip-python")), indirect=["target"]
)
@pytest.mark.parametrize("size", [2, 3, 4])
def test_all_reduce_on_threads(interpreted: Run, binding: str, size: int) -> None:
    program = ("-m", "tests.rocm.ranks", "threads", str(size), "1", "0.9", "all_reduce")
    assert "wrong: none" in interpreted(*program, binding=binding)


@pytest.mark.parametrize(
    ("target", "binding"), sampled(("gfx90a", "hip-python"), ("gfx942", "pyhip")), indirect=["target"]
)
@pytest.mark.parametrize("size", [2, 4])
def test_all_reduce_on_processes(interpreted: Run, binding: str, size: int) -> None:
    program = ("-m", "tests.rocm.ranks", "process", str(size), "1", "0.9", "all_reduce")
    said = interpreted("hal", "run", "-n", str(size), sys.executable, *program, binding=binding)
    assert said.count("wrong: none") == size


@pytest.mark.exhaustive
@pytest.mark.timeout(1900)
def test_every_collective_in_every_type(interpreted: Run) -> None:
    assert "wrong: none" in interpreted("-m", "tests.rocm.ranks", "threads", "3", "1", "1", timeout=1800)


@pytest.mark.exhaustive
@pytest.mark.timeout(1900)
def test_it_is_conformant(interpreted: Run) -> None:
    words = ("hal", "conformance", "--backend", "rocm", "--quick", "--limit", "200")
    assert "verdict: conformant" in interpreted(*words, timeout=1800)
