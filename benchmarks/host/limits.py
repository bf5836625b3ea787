"""What memory and cores can do, measured in the same run by a small C program (memory_limits.c)."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

DRAM_BYTES = 256 << 20
"""A buffer that no cache holds together with its copy."""
_SOURCE = Path(__file__).with_name("memory_limits.c")
_SECONDS_A_SIZE = 0.05
_TIMEOUT = 120.0


class LimitsError(Exception):
    """The program cannot be built or run here; the message says why."""


class Limits:
    """Collects measurements over a run; use as a context manager, which builds the program and removes it again."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hal-bench-")
        self._program = Path(self._folder.name, "memory_limits")
        self._copies: dict[tuple[int, int], list[float]] = defaultdict(list)
        self._between: dict[str, list[float]] = {"round_trip": [], "refill_read": [], "refill_claimed": []}

    def __enter__(self) -> Self:
        compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
        if compiler is None:
            raise LimitsError("no C compiler: there is neither cc, gcc nor clang")
        self._run([compiler, "-O3", "-std=c11", "-pthread", "-o", str(self._program), str(_SOURCE)])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def measure(self, threads: int, sizes: Sequence[int]) -> None:
        """Add one measurement: `threads` cores that copy at the same time, and what goes on between two."""
        output = self._run([str(self._program), str(threads), str(_SECONDS_A_SIZE), *map(str, sizes)])
        found = json.loads(output)
        for copy in found["copies"]:
            self._copies[threads, copy["size"]].append(copy["seconds"])
        for name, times in self._between.items():
            if name in found:
                times.append(found[name])

    def result(self) -> dict[str, Any]:
        """Medians in µs: a round trip between two cores, filling 256 KiB again that another core has read, or claimed,
        and for threads and size the time of all their copies."""
        between = {name: 1e6 * statistics.median(times) if times else None for name, times in self._between.items()}
        return {
            **{f"{name}_us": time for name, time in between.items()},
            "copies": [
                {"threads": threads, "bytes": size, "us": 1e6 * statistics.median(times)}
                for (threads, size), times in sorted(self._copies.items())
            ],
        }

    def _run(self, command: Sequence[str]) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT)
        except subprocess.CalledProcessError as error:
            raise LimitsError(f"{Path(command[0]).name} failed: {error.stderr.strip()[-300:]}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LimitsError(str(error)) from error
        return done.stdout
