"""`python -m benchmarks.kernels`: how fast each reduction goes, beside a copy of the same bytes in the same run.

Two sources into one destination of 256 KiB, in the caches, and the copy of one source; with `--memory`, of 32 MiB each,
most of which no cache holds. A cell is the time of copying the three buffers' bytes (a copy touches two) divided by the
reduction's: 1.00 and more is as fast as copying. Cases take turns in rounds, and the medians count.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable

import numpy as np

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError
from hal_host import _native

CACHED, IN_MEMORY = 256 << 10, 32 << 20
# buffers begin on a cache line; those that begin at the same place of a page slow each other down
APART = 1024


def _is_defined(dtype: DType, op: ReduceOp) -> bool:
    try:
        op.check(dtype)
    except UsageError:
        return False
    return True


def _microseconds(call: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times * 1e6


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--memory", action="store_true", help="buffers that no cache holds")
    in_memory = parser.parse_args().memory
    nbytes = IN_MEMORY if in_memory else CACHED
    rounds, repeats = (7, 1) if in_memory else (25, 20)
    # in every floating type an ordinary number between a half and one, or nearly nothing
    memory = np.full(4 * (nbytes + APART), 0x38, np.uint8)
    start = -(-memory.ctypes.data // 4096) * 4096
    first, second, target = (start + i * (nbytes + APART) for i in range(3))
    calls: dict[tuple[DType, ReduceOp] | None, Callable[[], object]] = {
        None: lambda: _native.copy(target, first, nbytes, False)
    }
    for dtype in DType:
        for op in ReduceOp:
            if _is_defined(dtype, op):
                count = nbytes // dtype.itemsize
                calls[dtype, op] = functools.partial(
                    _native.reduce, dtype, op, 2, [first, second], [target], count, False
                )
    times: dict[tuple[DType, ReduceOp] | None, list[float]] = {key: [] for key in calls}
    for turn in range(rounds + 1):
        for key, call in calls.items():
            spent = _microseconds(call, repeats)
            if turn:
                times[key].append(spent)
    copied = [time * 1.5 for time in times[None]]
    rate = nbytes / statistics.median(times[None]) / 1e3
    print(f"A copy of {nbytes >> 10} KiB: {rate:.1f} GB/s copied; instruction set {_native.kernel_isa()}\n")
    print(f"| | {' | '.join(op.label for op in ReduceOp)} |")
    print(f"|---|{'---:|' * len(ReduceOp)}")
    for dtype in DType:
        cells = []
        for op in ReduceOp:
            mine = times.get((dtype, op))
            ratios = [a / b for a, b in zip(copied, mine, strict=True)] if mine else []
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
        print(f"| {dtype.label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
