"""Channels for kernels of one's own, and the example of the documentation."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from hal.device import MemoryChannel, PortChannel, SemaphoreEnd, channels

from .machine import CPU, SANITIZERS, build, compiler

PAGE = Path(__file__).parents[2] / "docs" / "device.md"


def run(program: Path, *arguments: str) -> str:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=100, check=False)
    assert done.stderr == ""
    return done.stdout


def test_channels(programs: Path) -> None:
    program = build(programs, "channels", {}, [CPU / "channels.cpp"], compiler("default"), ["-O0"])
    assert run(program) == "right\n"


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_channels_under_sanitizers(programs: Path, sanitizer: str) -> None:
    flags = ["-O1", *SANITIZERS[sanitizer]]
    program = build(programs, f"channels_{sanitizer}", {}, [CPU / "channels.cpp"], compiler("default"), flags)
    assert run(program) == "right\n"


def test_the_example_of_the_documentation(programs: Path) -> None:
    """It computes what the page says, on two ranks, launch after launch."""
    (kernel,) = re.findall(r"<!-- kernel -->\n```cpp\n(.*?)```", PAGE.read_text(), re.DOTALL)
    program = build(programs, "example", {"kernel.cpp": kernel}, [CPU / "example.cpp"], compiler("default"), ["-O0"])
    assert run(program) == "right\n"


def test_channels_have_the_layout_of_the_headers() -> None:
    end = SemaphoreEnd(1, 2, 3, 4)
    words = [int.from_bytes(end.pack()[i : i + 8], "little") for i in range(0, 32, 8)]
    assert words == [1, 2, 3, 4]
    assert len(MemoryChannel(end, 5, 6).pack()) == len(PortChannel(end, 5, 6, 7, 8).pack()) == 64
    assert len(channels.queue(1, 2, 3, 4)) == 32
