"""The plans by which the host is measured, and the topology that follows from their times.

Every probe repeats one thing `REPEATS` times in one launch, so that the launch itself drops out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hal.plan import Plan, PlanBuilder

REPEATS = 512
PROBE_BYTES = 1 << 20
"""Of what is copied and reduced: beyond the second-level cache of one core on most machines."""

COPIES = 8


def _builder(name: str) -> PlanBuilder:
    return PlanBuilder("custom", name=name, ranks=2, input_chunks=1, output_chunks=1, in_place=False)


def _launch() -> Plan:
    p = _builder("launch")
    for rank in p.ranks:
        rank.block().sync()
    return p.build()


def _syncs() -> Plan:
    p = _builder("syncs")
    for rank in p.ranks:
        block = rank.block()
        for _ in range(REPEATS):
            block.sync()
    return p.build()


def _signals() -> Plan:
    """Signals that are there when they are waited for, all but the first."""
    p = _builder("signals")
    for rank in p.ranks:
        block = rank.block()
        for _ in range(REPEATS):
            block.signal(rank.others)
        for _ in range(REPEATS):
            block.wait(rank.others)
    return p.build()


def _round_trips() -> Plan:
    p = _builder("round_trips")
    first, second = p.ranks
    there, back = first.block(), second.block()
    for _ in range(REPEATS):
        there.signal([second])
        back.wait([first])
        back.signal([first])
        there.wait([second])
    return p.build()


def _copies() -> Plan:
    p = _builder("copies")
    for rank in p.ranks:
        block = rank.block()
        for _ in range(COPIES):
            block.copy(rank.output[0], rank.input[0])
            block.sync()
    return p.build()


def _reductions() -> Plan:
    p = _builder("reductions")
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        block.sync()
        for _ in range(COPIES):
            block.reduce(rank.output[0], [rank.input[0], rank.scratch[0]])
            block.sync()
    return p.build()


def _puts() -> Plan:
    """To the other rank's scratch, one at a time."""
    p = _builder("puts")
    first, second = p.ranks
    block = first.block()
    for _ in range(COPIES):
        block.copy(second.scratch[0], first.input[0])
        block.sync()
    block.signal([second])
    second.block().wait([first])
    return p.build()


PROBES: Mapping[str, Callable[[], Plan]] = {
    "launch": _launch,
    "syncs": _syncs,
    "signals": _signals,
    "round_trips": _round_trips,
    "copies": _copies,
    "reductions": _reductions,
    "puts": _puts,
}


def topology(seconds: Mapping[str, float], ranks: int, cores: int) -> str:
    """The topology file of this host, from the seconds of a launch of each probe."""
    launch = seconds["launch"]

    def each(name: str, times: int) -> float:
        return max(seconds[name] - launch, 1e-12) / times

    overhead = each("syncs", REPEATS)
    pair = each("signals", REPEATS)
    extra = max(0.0, pair - 2 * overhead) / 2
    latency = max(0.0, each("round_trips", 2 * REPEATS) - pair)
    copy = PROBE_BYTES / each("copies", COPIES)
    put = PROBE_BYTES / each("puts", COPIES)
    further = max(each("reductions", COPIES) - each("copies", COPIES), 1e-12)
    reduce = PROBE_BYTES / further
    return f"""\
# This host with its host backend, as `python -m benchmarks.simulator` measured it.
topology: node
ranks: {ranks}
wiring: mesh
link: {{bandwidth: {put / 1e9:.3f}GB/s, latency: {_time(latency)}}}
processors: {cores}
rank:
  copy: {copy / 1e9:.3f}GB/s
  reduce: {reduce / 1e9:.3f}GB/s
  launch: {_time(launch)}
  overhead: {_time(overhead)}
  signal: {_time(extra)}
  wait: {_time(extra)}
"""


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.4f}us"
