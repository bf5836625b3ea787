"""The backend and both bindings on the stand-in, with kernels compiled from their source for CPUs."""

from __future__ import annotations

import sys
from typing import Any

import pytest

pytestmark = pytest.mark.slow
PROBE = "from hal_rocm.probe import probe; print(*probe().devices)"
BINDINGS = ["hip-python", "hip-python-7", "pyhip"]
BOTH = ["hip-python", "pyhip"]


def sampled(*chosen: tuple[str, int]) -> list[Any]:
    """Every binding with every number of ranks; those not chosen are for the exhaustive tests."""
    every = [(binding, size) for binding in BOTH for size in (2, 3, 4)]
    return [pytest.param(*each, marks=() if each in chosen else pytest.mark.exhaustive) for each in every]


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_stand_in_says_what_it_is(run, binding):
    said = run("-c", PROBE, binding=binding, DEVICES="2")
    assert "stand-in 1 for an AMD GPU (tests, on CPUs)" in said
    assert binding.split("-")[0] in said


@pytest.mark.parametrize(("binding", "size"), sampled(("hip-python", 4), ("pyhip", 3)))
def test_collectives_on_threads(run, binding, size):
    assert "wrong: none" in run("-m", "tests.rocm.ranks", "threads", str(size), "1", "0.3", binding=binding)


@pytest.mark.parametrize(("binding", "size"), sampled(("hip-python", 2), ("pyhip", 4)))
def test_collectives_on_processes(run, binding, size):
    program = ("-m", "tests.rocm.ranks", "process", str(size), "1", "0.3")
    said = run("hal", "run", "-n", str(size), sys.executable, *program, binding=binding)
    assert said.count("wrong: none") == size


@pytest.mark.parametrize("profile", ["streams", pytest.param("semaphores", marks=pytest.mark.exhaustive)])
def test_clauses_of(run, profile):
    said = run("hal", "conformance", "--backend", "rocm", "--quick", "--profile", profile, timeout=110)
    assert "verdict: partial" in said  # for the profiles that were left out


@pytest.mark.exhaustive
@pytest.mark.timeout(1900)
@pytest.mark.parametrize("binding", BOTH)
def test_it_is_conformant(run, binding):
    words = ("hal", "conformance", "--backend", "rocm", "--quick", "--limit", "200")
    assert "verdict: conformant" in run(*words, binding=binding, timeout=1800)


@pytest.mark.exhaustive
@pytest.mark.timeout(1900)
@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_whole_matrix(run, size):
    assert "wrong: none" in run("-m", "tests.rocm.ranks", "threads", str(size), "1", "1", timeout=1800)
