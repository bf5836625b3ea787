"""Every type and operation through the executor kernel, on every compiler; schedules disturbed by many seeds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hal.device import include_path, kernel_source, sources
from hal.interface.dtypes import DType, ReduceOp
from hal_collectives.algorithms import get

from ..collectives import plans
from ..doubles.hip import standin
from .machine import algorithm_job, build_driver, check, compiler, job_of, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_every_type(programs: Path, tmp_path: Path) -> None:
    program = build_driver(programs, DType, [ReduceOp.SUM], level="-O0")
    jobs = [
        job_of(make(size), count, dtype, lanes=4, offset=offset)
        for dtype in DType
        for make, size, count, offset in (
            (get("all_reduce", "one_phase").build, 2, 205, 0),
            (get("all_reduce", "one_phase").build, 3, 205, 8),
            (get("all_reduce", "one_phase").build, 4, 71, 0),
            (get("all_reduce", "one_phase").build, 8, 71, 0),
            (get("all_reduce", "all_pairs_ll").build, 2, 205, 0),
            (get("all_reduce", "all_pairs_ll").build, 3, 43, 8),
            (get("all_reduce", "all_pairs_ll").build, 8, 43, 0),
            (plans.pipeline, 2, 301, 0),
        )
    ]
    for job, outcome in zip(jobs, run(program, jobs, tmp_path, timeout=200), strict=True):
        check(job, outcome)


def test_every_operation(programs: Path, tmp_path: Path) -> None:
    program = build_driver(programs, [DType.INT16])
    jobs = [
        job_of(get("all_reduce", name).build(3), 205, DType.INT16, op)
        for name in ("one_phase", "all_pairs_ll")
        for op in ReduceOp
    ]
    for job, outcome in zip(jobs, run(program, jobs, tmp_path), strict=True):
        check(job, outcome)


@pytest.mark.parametrize("cxx", ["g++", "clang++"])
def test_every_compiler(programs: Path, tmp_path: Path, cxx: str) -> None:
    found = fetched_clang(programs) if cxx == "clang++" and shutil.which(cxx) is None else compiler(cxx)
    if Path(found).resolve() == Path(compiler("default")).resolve():
        pytest.skip(f"{cxx} is what all other tests use")
    program = build_driver(programs, [DType.FLOAT32, DType.FLOAT8_E4M3], [ReduceOp.SUM], cxx=found)
    jobs = [
        algorithm_job(get("all_reduce", name), 3, 205, dtype, ReduceOp.SUM)
        for dtype in (DType.FLOAT32, DType.FLOAT8_E4M3)
        for name in ("two_phase_mapped", "all_pairs_ll", "ring")
    ]
    for job, outcome in zip(jobs, run(program, jobs, tmp_path), strict=True):
        check(job, outcome, job.mapped)


def fetched_clang(folder: Path) -> str:
    """A program that calls the clang++ of Debian's packages, with the libraries that it needs."""
    try:
        clang = standin.clang()
    except standin.Unavailable as why:
        pytest.skip(str(why))
    program = folder / "clang++"
    libraries = clang.environment["LD_LIBRARY_PATH"]
    program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{clang.tool("clang++")}" "$@"\n')
    program.chmod(0o755)
    return str(program)


def test_many_schedules(driver: Path, tmp_path: Path) -> None:
    makers = (plans.packets, plans.pipeline, plans.blocks, get("all_reduce", "halving_doubling").build)
    jobs = [
        job_of(make(4), 65, DType.INT32, launches=4, lanes=2, seed=seed * 7919)
        for seed in range(1, 26)
        for make in makers
    ]
    for job, outcome in zip(jobs, run(driver, jobs, tmp_path, timeout=200), strict=True):
        check(job, outcome)


def test_the_template_of_the_intrinsics_declares_all_that_headers_use(tmp_path: Path) -> None:
    (tmp_path / "intrinsics.h").write_text(sources()["hal/device/intrinsics_template.h"])
    headers = [name for name in sources() if not name.endswith("template.h")]
    source = tmp_path / "all.cpp"
    source.write_text("".join(f"#include <{name}>\n" for name in headers) + kernel_source(DType.INT8, ReduceOp))
    command = [compiler("default"), "-std=c++17", "-fsyntax-only", "-Wall", f"-I{tmp_path}", f"-I{include_path()}"]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_header_stands_alone(tmp_path: Path) -> None:
    (tmp_path / "intrinsics.h").write_text(sources()["hal/device/intrinsics_template.h"])
    command = [compiler("default"), "-std=c++17", "-fsyntax-only", "-Wall", f"-I{tmp_path}", f"-I{include_path()}"]
    for name in sources():
        source = tmp_path / "one.cpp"
        source.write_text(f"#include <{name}>\n")
        done = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=100, check=False)
        assert (done.returncode, done.stderr) == (0, ""), name
