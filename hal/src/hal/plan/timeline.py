"""What ran when: the intervals of a run, measured or simulated, and their form in the Chrome trace format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from hal.plan.text import Path, path_text

Kind: TypeAlias = Literal["move", "post", "signal", "wait", "flush", "sync", "barrier", "acquire", "release"]
"""What an interval's instruction is: the classes of `hal.plan.model` in lower case, without `loop`."""

_MICROSECONDS = 1e6
_PORTS = 1_000_000
"""Where the thread numbers of ports begin in a trace: behind those of all blocks."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One execution of one instruction, from its start to its end in seconds since the launch began.

    `block` is the number of the block in its rank; `path` the place of the instruction in it, one number, or two inside
    a loop, of which every piece is an interval of its own. `text` is the instruction as `hal.plan.describe` writes it.
    A post has two intervals: posting, in its block, and its delivery, whose `port` is the channel. `nbytes` is the
    length of the operands of a move or post, 0 for others. `peer` is the other rank where exactly one is concerned.
    """

    rank: int
    block: int
    path: Path
    text: str
    kind: Kind
    start: float
    end: float
    nbytes: int = 0
    peer: int | None = None
    port: int | None = None
    """The port channel that works on a delivery, beside the blocks; None for what a block does."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The intervals of one launch of the plan `name`, in any order; `source` says what they come from.

    `source` is a sentence for people, such as "simulated on one-node.yaml, 64 MiB of float32".
    """

    name: str
    intervals: Sequence[Interval] = field(repr=False)
    source: str = ""


def to_chrome_trace(timeline: Timeline) -> dict[str, Any]:
    """The timeline in the Chrome trace event format (JSON object form), which Perfetto and `about:tracing` open.

    Every rank is a process, every block and every port channel a thread of it; times are microseconds, as the format
    demands. Format: "Trace Event Format", by the Chromium authors, complete events (`ph` X) and metadata (`ph` M).
    """
    events: list[dict[str, Any]] = []
    threads = {(i.rank, _thread(i)): i for i in timeline.intervals}
    for rank in sorted({rank for rank, _ in threads}):
        events.append({"ph": "M", "name": "process_name", "pid": rank, "tid": 0, "args": {"name": f"rank {rank}"}})
        events.append({"ph": "M", "name": "process_sort_index", "pid": rank, "tid": 0, "args": {"sort_index": rank}})
    for (rank, thread), one in sorted(threads.items(), key=lambda item: item[0]):
        name = f"block {one.block}" if one.port is None else f"port channel {one.port}"
        events.append({"ph": "M", "name": "thread_name", "pid": rank, "tid": thread, "args": {"name": name}})
    events += map(_event, sorted(timeline.intervals, key=lambda i: (i.start, i.rank, i.block, i.path)))
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {"plan": timeline.name, "source": timeline.source},
    }


def _thread(interval: Interval) -> int:
    return interval.block if interval.port is None else _PORTS + interval.port


def _event(interval: Interval) -> dict[str, Any]:
    details: dict[str, Any] = {"block": interval.block, "instruction": path_text(interval.path)}
    if interval.nbytes:
        details["bytes"] = interval.nbytes
    if interval.peer is not None:
        details["peer"] = interval.peer
    return {
        "ph": "X",
        "name": interval.text,
        "cat": interval.kind,
        "pid": interval.rank,
        "tid": _thread(interval),
        "ts": interval.start * _MICROSECONDS,
        "dur": (interval.end - interval.start) * _MICROSECONDS,
        "args": details,
    }
