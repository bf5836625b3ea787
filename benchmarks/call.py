"""`python -m benchmarks.call`: what a call costs where nothing is to be communicated, in Python and without it.

The call is an all_reduce of 4 bytes in a group of one rank: it does all that a call does, but for waiting. Prepared and
plain calls from Python and calls from C++ alone (`Executable.repeat`, the C call) take turns; the medians of the rounds
are shown, and how much each costs beyond the C call.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

import hal_collectives
from hal.interface.dtypes import DType, ReduceOp
from hal.plan.collective import Collective
from hal_host.executor import HostExecutable

ROUNDS, CALLS = 200, 2000
TIMEOUT_NS = 10_000_000_000


def python(call: Callable[..., object], *arguments: object) -> Callable[[], float]:
    """Nanoseconds of a call in a loop of Python's, without those of the loop."""

    def batch() -> float:
        steps = range(CALLS)
        start = time.perf_counter_ns()
        for _ in steps:
            pass
        loop = time.perf_counter_ns() - start
        start = time.perf_counter_ns()
        for _ in steps:
            call(*arguments)
        return (time.perf_counter_ns() - start - loop) / CALLS

    return batch


def measure(comm: hal_collectives.Communicator) -> dict[str, float]:
    """Nanoseconds a call, by what was called."""
    x, out = comm.empty(1, "float32"), np.zeros(1, np.float32)
    x[:] = 0
    executable = comm.caller.calls.get(Collective.ALL_REDUCE, 1, DType.FLOAT32, ReduceOp.SUM, None)
    assert isinstance(executable, HostExecutable)
    ends = (x.ctypes.data, x.nbytes, x.ctypes.data, x.nbytes)
    native = executable.native
    batches = {
        "from C++": lambda: native.repeat(*ends, TIMEOUT_NS, CALLS),
        "prepared": python(comm.all_reduce.prepare(x)),
        "plain, in place": python(comm.all_reduce, x),
        "plain, with `out`": python(comm.all_reduce, x, out),
        "barrier": python(comm.barrier),
    }
    times: dict[str, list[float]] = {name: [] for name in batches}
    for _ in range(ROUNDS):
        for name, batch in batches.items():
            times[name].append(batch())
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    """Print a Markdown table."""
    (found,) = hal_collectives.run_local(1, measure)
    base = found["from C++"]
    print("| call | ns | beyond the C call | ratio |\n|---|---:|---:|---:|")
    for name, ns in found.items():
        print(f"| {name} | {ns:.0f} | {ns - base:.0f} | {ns / base:.2f} |")


if __name__ == "__main__":
    main()
