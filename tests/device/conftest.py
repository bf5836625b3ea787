"""Programs that several tests run, compiled once; they are kept in pytest's cache for as long as their sources stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from hal.interface.dtypes import DType, ReduceOp

from . import machine


@pytest.fixture(scope="session")
def programs(request: pytest.FixtureRequest) -> Path:
    """Where compiled programs are kept."""
    return Path(request.config.cache.mkdir("hal_device"))


@pytest.fixture(scope="session")
def driver(programs: Path) -> Path:
    """The executor on CPUs, for two types and the operations that every type has."""
    ops = [ReduceOp.SUM, ReduceOp.MIN, ReduceOp.MAX, ReduceOp.AVG]
    return machine.build_driver(programs, [DType.INT32, DType.BFLOAT16], ops, level="-O0")
