"""The arithmetic of device code is the reference's, bit for bit, for every type and operation."""

from __future__ import annotations

import itertools
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hal.interface.dtypes import DType, ReduceOp
from hal.reference.arithmetic import combine

from .machine import CPU, build, compiler

Array = NDArray[Any]
PACK = 16  # elements of any type fill whole packs


@pytest.fixture(scope="module")
def program(programs: Path) -> Path:
    return build(programs, "arithmetic", {}, [CPU / "arithmetic.cpp"], compiler("default"), ["-O0"])


def compute(program: Path, cases: list[tuple[list[Array], DType, ReduceOp, int]]) -> list[Array]:
    """What device code makes of the cases, each pack by pack and element by element."""
    given = []
    for sources, dtype, op, divisor in cases:
        data = b"".join(source.tobytes() for source in sources)
        given += [struct.pack("=6Q", dtype, op, divisor, len(sources), sources[0].size, len(data)), data]
    done = subprocess.run([str(program)], input=b"".join(given), capture_output=True, timeout=100, check=True)
    results, at = [], 0
    for sources, dtype, _, _ in cases:
        for _ in range(2):
            results.append(np.frombuffer(done.stdout, dtype.numpy, sources[0].size, at))
            at += sources[0].nbytes
    assert at == len(done.stdout)
    return results


def check(program: Path, cases: list[tuple[list[Array], DType, ReduceOp, int]]) -> None:
    got = compute(program, cases)
    for number, (sources, dtype, op, divisor) in enumerate(cases):
        wanted = combine(sources, dtype, op, divisor)
        bits = np.dtype(f"u{dtype.itemsize}")
        for form, result in zip(("packs", "elements"), got[2 * number : 2 * number + 2], strict=True):
            wrong = np.flatnonzero(result.view(bits) != wanted.view(bits))
            if wrong.size:
                at = wrong[0]
                operands = [source.view(bits)[at] for source in sources]
                pytest.fail(
                    f"{dtype.label} {op.label} of {list(map(hex, operands))} by {divisor}, {form}: "
                    f"{result.view(bits)[at]:#x}, expected {wanted.view(bits)[at]:#x}"
                )


def random_bits(dtype: DType, count: int, seed: int) -> Array:
    """Any bits at all, and small numbers, which meet in sums and products more often."""
    rng = np.random.default_rng([seed, dtype])
    anything = np.frombuffer(rng.bytes(count // 2 * dtype.itemsize), dtype.numpy)
    with np.errstate(all="ignore"):
        small = (rng.standard_normal(count - count // 2) * 8).astype(np.float32).astype(dtype.numpy)
    return np.concatenate([anything, small])


@pytest.mark.parametrize("dtype", list(DType), ids=lambda d: d.label)
def test_every_operation(program: Path, dtype: DType) -> None:
    cases = []
    for op in ReduceOp:
        if op.is_bitwise and dtype.is_float:
            continue
        for sources in (2, 3, 8):
            data = [random_bits(dtype, 64 * PACK, seed) for seed in range(sources)]
            cases.append((data, dtype, op, sources if op is ReduceOp.AVG else 1))
    cases.append(([random_bits(dtype, 64 * PACK, 9)], dtype, ReduceOp.AVG, 300))
    check(program, cases)


@pytest.mark.parametrize("dtype", [DType.FLOAT8_E4M3, DType.FLOAT8_E5M2], ids=lambda d: d.label)
def test_all_pairs_of_bytes(program: Path, dtype: DType) -> None:
    pairs = np.array(list(itertools.product(range(256), repeat=2)), np.uint8)
    first, second = (np.ascontiguousarray(pairs[:, i]).view(dtype.numpy) for i in range(2))
    ops = (ReduceOp.SUM, ReduceOp.PROD, ReduceOp.MIN, ReduceOp.MAX)
    check(program, [([first, second], dtype, op, 1) for op in ops] + [([first, second], dtype, ReduceOp.AVG, 3)])


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.BFLOAT16], ids=lambda d: d.label)
def test_all_halves(program: Path, dtype: DType) -> None:
    """Each code with itself, its neighbours and numbers that leave ties: widening and rounding meet every case."""
    codes = np.arange(1 << 16, dtype=np.uint16)
    every = codes.view(dtype.numpy)
    others = [codes, codes ^ 1, codes + 0x1001, np.roll(codes, 0x3C00), codes - 0x0B00]
    cases = [
        ([every, other.view(dtype.numpy)], dtype, op, 1) for other in others for op in (ReduceOp.SUM, ReduceOp.PROD)
    ]
    check(program, [*cases, ([every, every, every], dtype, ReduceOp.AVG, 3)])
