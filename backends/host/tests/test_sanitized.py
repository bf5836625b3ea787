"""The native core under ThreadSanitizer: ranks as threads, without Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hal.interface.dtypes import DType
from hal.plan.layout import Layout
from hal.plan.lower import lower
from hal_collectives.algorithms import get
from hal_host.claims import claims
from hal_host.going_on import goes_on

NATIVE = Path(__file__).parents[1] / "native"
HEADERS = Path(__file__).parents[3] / "hal" / "src"
APART = {"module", "tcp_module", "arena", "bound", "fast", "front"}
"""What serves Python."""
CORE = sorted(each.stem for each in NATIVE.glob("*.cpp") if each.stem not in APART)
SCRATCH = 1 << 21


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program."""
    compiler = shutil.which(os.environ.get("CXX") or "c++")
    if compiler is None:
        # the module may have been installed ready-made
        pytest.skip("there is no C++ compiler, with which this test builds its program")
    made = tmp_path_factory.mktemp("sanitized") / "sanitized"
    sources = [Path(__file__).parent / "sanitized.cpp", *(NATIVE / f"{name}.cpp" for name in CORE)]
    # fences order only who sleeps and who wakes; what the sanitizer does not see of them it would report
    flags = ["-std=c++20", "-O1", "-g", "-fsanitize=thread", "-pthread", "-Wno-tsan", f"-I{NATIVE}", f"-I{HEADERS}"]
    done = subprocess.run(
        [compiler, *flags, *map(str, sources), "-o", str(made)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["one_phase", "all_pairs_ll", "staged", "ring"])
def test_all_reduce_between_hosts_has_no_data_race(program: Path, name: str) -> None:
    """Two ranks on one host and one on another, over sockets."""
    assert_no_data_race(program, name, 3, 0, hosts=2)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("size", "records"), [(2, 0), (3, 0), (4, 0), (3, 1000)])
@pytest.mark.parametrize("name", ["one_phase", "two_phase", "all_pairs_ll", "staged", "ring", "recursive_doubling"])
def test_all_reduce_has_no_data_race(program: Path, name: str, size: int, records: int) -> None:
    """Also where packet flags begin anew, which is after the first twenty launches; recorded and not."""
    assert_no_data_race(program, name, size, records, hosts=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [1, 4, 20])
def test_scratch_in_the_headers_has_no_data_race(program: Path, count: int) -> None:
    assert_no_data_race(program, "one_phase", 3, 0, hosts=1, count=count)


def assert_no_data_race(program: Path, name: str, size: int, records: int, hosts: int, count: int = 3000) -> None:
    launches = 60
    plan = get("all_reduce", name).build(size)
    words = [size, hosts, SCRATCH, count, launches, records]
    for rank in range(size):
        lowered = lower(plan, rank, Layout.uniform(plan, count, 4), DType.INT32)
        reach = SCRATCH if lowered.scratch_reach is None else lowered.scratch_reach
        claimed = claims(plan)
        words += [lowered.channel_slots, reach, int(hosts == 1 and not claimed.all), int(goes_on(plan))]
        words.append(len(lowered.blocks))
        for block, positions in zip(lowered.blocks, claimed.moves[rank], strict=True):
            positions = positions if hosts == 1 else []
            words += [len(block), *block, len(positions), *positions]
    done = subprocess.run(
        [str(program)],
        input=" ".join(map(str, words)),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={"TSAN_OPTIONS": "halt_on_error=1"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "right\n", "")
