"""The backend and both bindings on the stand-in, with kernels compiled from their source for CPUs."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

import pytest

import hal_conformance
from hal_conformance.settings import PROFILES

pytestmark = pytest.mark.slow
PROBE = "from hal_rocm.probe import probe; print(*probe().devices)"
BINDINGS = ["hip-python", "hip-python-7", "pyhip"]
BOTH = ["hip-python", "pyhip"]


PAIRS = [
    pytest.param(*pair, str(seed), id="-".join(map(str, pair)))
    for seed, pair in enumerate(itertools.product(BOTH, (2, 3, 4)), 1)
]
"""Every binding with every number of ranks, each with a sample of the matrix of its own."""


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_stand_in_says_what_it_is(run, binding):
    said = run("-c", PROBE, binding=binding, DEVICES="2")
    assert "stand-in 1 for an AMD GPU (tests, on CPUs)" in said
    assert binding.split("-")[0] in said


@pytest.mark.parametrize(("binding", "size", "seed"), PAIRS)
def test_collectives_on_threads(run, binding, size, seed):
    assert "wrong: none" in run("-m", "tests.rocm.ranks", "threads", str(size), seed, "0.3", binding=binding)


@pytest.mark.parametrize(("binding", "size", "seed"), PAIRS)
def test_collectives_on_processes(run, binding, size, seed):
    program = ("-m", "tests.rocm.ranks", "process", str(size), seed, "0.3")
    said = run("hal", "run", "-n", str(size), sys.executable, *program, binding=binding)
    assert said.count("wrong: none") == size


PARTS = {
    "reductions": ["reductions"],
    "plans": ["plans", "enqueue", "kernels", "switch-channel"],
    "faults": ["faults", "transport"],
    "channels": ["discovery", "config", "streams", "memory", "memory-channel", "port-channel"],
    "collectives": ["collectives", "sequences"],  # the slow tests have their own matrix of these
    "machine code": ["executor", "packets", "semaphores"],  # and take these in instruction mode
}
"""The profiles of conformance, in parts that take about as long."""
TYPES = ["int32", "float32", "float8_e4m3"]
"""Those whose reductions the slow tests run: each is compiled for minutes altogether. Conformance takes all."""
IN_NO_PAIR_OF_THREADS = ["*test_more_ranks_than_processors*", "*test_a_rank_that_dies[2*", "*test_the_owner_has_ended*"]
"""Tests of clauses that groups of two threads have no test of."""


def test_every_profile_is_of_one_part():
    assert sorted(itertools.chain(*PARTS.values())) == sorted(PROFILES)


def test_tests_that_are_named_are_there():
    suite = Path(hal_conformance.__file__).with_name("suite").glob("test_*.py")
    sources = "".join(path.read_text() for path in suite)
    for pattern in IN_NO_PAIR_OF_THREADS:
        assert f"def {pattern.strip('*').removesuffix('[2')}(" in sources


def clauses():
    """Every part with each binding: ranks are threads with one, processes with the other. The slow tests take most with
    one of them."""
    on_threads, on_processes = ("hip-python", "threads"), ("pyhip", "processes")
    chosen = {
        "reductions": [on_processes],
        "plans": [on_processes],
        "faults": [on_processes],
        "channels": [on_threads],
        "machine code": [],
        "collectives": [],
    }
    return [
        pytest.param(part, *each, marks=() if each in chosen[part] else pytest.mark.exhaustive)
        for part in PARTS
        for each in (on_threads, on_processes)
    ]


@pytest.mark.timeout(320)
@pytest.mark.parametrize(("part", "binding", "ranks"), clauses())
def test_clauses_of(run, part, binding, ranks):
    chosen = [word for profile in PARTS[part] for word in ("--profile", profile)]
    typed = [*(f"*[1*{dtype}]" for dtype in TYPES), "*many_operands*"]  # these need no other ranks
    for test in typed if part == "reductions" else (f"*[2-{ranks}*", "*[1*", *IN_NO_PAIR_OF_THREADS):
        chosen += ["--test", test]
    words = ("hal", "conformance", "--backend", "rocm", "--quick", "--limit", "100", *chosen)
    said = run(*words, binding=binding, timeout=300)
    assert "verdict: partial" in said  # for what was left out
    assert re.search(r"^[1-9]\d* passed", said, re.MULTILINE)


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
