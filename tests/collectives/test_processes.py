"""The same cases with every rank a process of its own, started by the launcher."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAUNCH = "import sys; from hal.bootstrap.launcher import run_ranks; sys.exit(run_ranks(sys.argv[2:], int(sys.argv[1])))"
# Several modules are imported by their place in the repository, which an installed package does not know.
PROGRAM = """
import sys

sys.path.insert(0, sys.argv[1])
import hal_collectives
from tests.collectives.calling import Jobs, run_all
from tests.collectives.cases import covering, matrix
from tests.collectives.test_long_run import random_cases


class OwnJobs(Jobs):
    def take(self, number):
        self._made.clear()  # no other rank in this process takes it
        return super().take(number)


with hal_collectives.init(timeout=20, verify="never") as comm:  # proven in the tests of threads, once for all ranks
    cases = {cases}
    wrong = run_all(comm, OwnJobs(cases, comm.size, 1))
    half = comm.split(comm.rank // 2)
    some = [case for case in cases[:50] if half.size > 1 or case.collective != "send_recv"]
    wrong += run_all(half, OwnJobs(some, half.size, 2))
print(*wrong[:3], sep="\\n")
print(comm.rank, "ran", len(cases))
sys.exit(bool(wrong))
"""


def launch(tmp_path: Path, size: int, cases: str, before: str = "") -> None:
    script = tmp_path / "program.py"
    script.write_text(before + PROGRAM.replace("{cases}", cases))
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, str(size), sys.executable, str(script), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ran ") == size


SAMPLE = 'covering(matrix(memories=["plain", "registered", "mixed"]), seed=3, candidates=3)'


@pytest.mark.parametrize("size", [2, 4])
def test_a_covering_sample(tmp_path: Path, size: int) -> None:
    launch(tmp_path, size, SAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4, *(pytest.param(size, marks=pytest.mark.exhaustive) for size in (3, 7))])
def test_thousands_of_calls(tmp_path: Path, size: int) -> None:
    launch(tmp_path, size, f"random_cases(3000, {size}, 3000)")
