"""The page people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.host.markdown import table
from benchmarks.host.statistics import Summary, ratio

COMMAND = "make bench-ib"
NOT_RUN = "not_run"
"""The key of the reason why a part was not measured."""

Figures = Mapping[str, Mapping[str, Sequence[float]]]
"""Of each size the values of each contender, one a round."""


def page(found: Mapping[str, Any]) -> str:
    """The page of what `python -m benchmarks.ib` has found."""
    machine = found["machine"]
    return f"""# RDMA and TCP beside what they stand on

Measured on {machine["date"]} in {found["minutes"]} minutes by `{COMMAND}`, all in that one run; `ib.json` beside this
page has every value. Contenders take turns in {found["rounds"]} rounds. Shown are medians over rounds. A ratio is taken
in each round; shown is its median, with the quartiles. **A ratio above 1 means that HAL is faster.** Ratios count:
absolute times are those of this machine, of its virtual machine, and of what else they did.

{machine["cpu"]}, {machine["cores"]} cores, {machine["kernel"]}, Python {machine["python"]}, HAL at commit
{machine["commit"]}. Load average of one minute before, between and after the parts:
{", ".join(map(str, found["load"]))}.

## TCP

{_network(found["network"])}
## RDMA

{_rdma(found["rdma"])}"""


def _network(found: Mapping[str, Any]) -> str:
    if NOT_RUN in found:
        return f"Not run: {found[NOT_RUN]}\n"
    gloo = f"gloo is that of {found['about']['gloo']}." if "no_gloo" not in found else f"gloo: {found['no_gloo']}."
    return f"""Two hosts, which are network namespaces on one bridge; a process on each. A transfer counts when the
sender knows that all has arrived: HAL by `flush` after its puts, the socket by a byte that comes back after `sendall`,
gloo by a message that comes back. All are called from Python. A short transfer of HAL takes longer than the socket's,
since a thread of its own receives the news and wakes the caller. {gloo}

One transfer and the news of its arrival, in microseconds:

{_compared(found["transfer"], times=True)}
Transfers in a row, in MB/s (10⁶ bytes a second):

{_compared(found["stream"], times=False)}
all_reduce of float32 in plain memory, in place, as users call it, in microseconds a call:

{_compared(found["all_reduce"], times=True)}"""


def _rdma(found: Mapping[str, Any]) -> str:
    if NOT_RUN in found:
        return f"Not run: {found[NOT_RUN]}\n"
    about = found["about"]
    where, emulated = "this machine", ""
    if about["virtual"]:
        where = "the virtual machine of `make test-rxe`"
        emulated = "\nQEMU emulates its processors: all takes tens of times as long as on real ones."
    pyverbs = "" if found["no_pyverbs"] is None else f"\npyverbs: not run, {found['no_pyverbs']}\n"
    return f"""In {where}, {about["processors"]} processors, on
{about["device"]}.{emulated}
Two processes, a reliable connection, memory of the processor. HAL posts through the
[native door](../transports.md#the-native-door), called by a loop in C as executors call it, unless said otherwise;
perftest's programs run with their defaults.

Posting a put, until the call returns, in microseconds, with the quartiles; 128 in a row, which fit into the queue.
Puts of 8 bytes are inline. With a device in software each post is a system call, in which packets may be sent too.
{pyverbs}
{_posting(found["posting"])}
Latency of a put, which is half a round trip between two processes that poll their memory, in microseconds. Where it is
some milliseconds, it is the time slices of processors that have more to do than they can:

{_compared(found["latency"], times=True)}
Bandwidth of puts in a row, until the last one is complete, in MB/s (10⁶ bytes a second):

{_compared(found["bandwidth"], times=False)}"""


def _compared(sizes: Figures, *, times: bool) -> str:
    others = [name for name in next(iter(sizes.values())) if name != "HAL"]
    rows = []
    for size, values in sizes.items():
        cells = [size, *(f"{Summary.of(values[name]).median:.4g}" for name in ("HAL", *others))]
        for name in others:
            slower, faster = (values[name], values["HAL"]) if times else (values["HAL"], values[name])
            found = ratio(slower, faster)
            cells.append("–" if found is None else f"**{found.median:.2f}** ({found.low:.2f} to {found.high:.2f})")
        rows.append(cells)
    return table(["bytes", "HAL", *others, *(f"HAL beside {name}" for name in others)], rows) + "\n"


def _posting(sizes: Figures) -> str:
    names = list(next(iter(sizes.values())))
    rows = []
    for size, values in sizes.items():
        found = [Summary.of(values[name]) for name in names]
        rows.append([size, *(f"{each.median:.1f} ({each.low:.1f} to {each.high:.1f})" for each in found)])
    return table(["bytes", *names], rows) + "\n"
