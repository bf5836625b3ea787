"""Timelines from trace files: of a run that was recorded, or of the simulator."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from hal.interface.errors import UsageError
from hal.plan.timeline import Interval, Kind, Timeline
from hal.plan.trace_file import read_complete

LARGEST_FILE = 1 << 30
"""Bytes of a trace that are read."""

_KINDS = frozenset(get_args(Kind))
_PORTS, _THREADS = 1_000_000, 2_000_000
"""Thread numbers of a communicator: blocks, then ports from the one on, up to the other."""

_Launch = tuple[str, int]
"""The ranks of a communicator, as the trace names them, and the number of a launch."""


def read_trace(path: str | Path, launch: int | None = None) -> Timeline:
    """The timeline of one launch in a trace file, written by `HAL_TRACE` or by `hal plan simulate --timeline`.

    Without `launch` it is the last one of the most ranks that all of them completed. `UsageError` for a file that is
    no such trace, and for a launch that it does not have.
    """
    name = str(path)
    events, about = _load(Path(path))
    found: dict[_Launch, list[Interval]] = defaultdict(list)
    unfinished: set[_Launch] = set()
    calls: dict[_Launch, Mapping[str, Any]] = {}
    for number, event in enumerate(events):
        try:
            _take(event, found, unfinished, calls)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"{name}: event {number} is not one of HAL's: {error!r}") from None
    if not found:
        raise UsageError(f"{name}: the trace has no instructions")
    chosen = _choose(name, found, unfinished, launch)
    call = calls.get(chosen)
    if call is None:
        return Timeline(str(about.get("plan", Path(path).stem)), found[chosen], str(about.get("source", "")))
    args = call["args"]
    what = f"{call['name'].split()[0]}, {args.get('count')} elements of {args.get('dtype')}"
    return Timeline(f"{args.get('plan')}: {what}", found[chosen], f"recorded, launch {chosen[1]} of ranks {chosen[0]}")


def _load(path: Path) -> tuple[Sequence[Any], Mapping[str, Any]]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{path}: more than {LARGEST_FILE >> 20} MiB: record fewer calls, or take another viewer")
        document = json.loads(read_complete(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is not JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("traceEvents"), list):
        raise UsageError(f"{path}: is no trace: it has no list `traceEvents`")
    about = document.get("otherData")
    return document["traceEvents"], about if isinstance(about, dict) else {}


def _take(
    event: Mapping[str, Any],
    found: dict[_Launch, list[Interval]],
    unfinished: set[_Launch],
    calls: dict[_Launch, Mapping[str, Any]],
) -> None:
    if event["ph"] != "X":
        return
    args = event["args"]
    key = (str(args.get("ranks", "")), int(args.get("launch", 0)))
    if args.get("unfinished"):
        unfinished.add(key)
    if event["cat"] == "launch":
        calls[key] = event
    if event["cat"] not in _KINDS:
        return
    start, length = float(event["ts"]) / 1e6, float(event["dur"]) / 1e6
    if not (math.isfinite(start) and math.isfinite(length) and length >= 0):
        raise ValueError("a time that is no number")
    thread = int(event["tid"]) % _THREADS
    found[key].append(
        Interval(
            rank=int(event["pid"]),
            block=int(args["block"]),
            path=tuple(int(word) for word in str(args["instruction"]).split(".")),
            text=str(event["name"]),
            kind=event["cat"],
            start=start,
            end=start + length,
            nbytes=int(args.get("bytes", 0)),
            peer=args.get("peer"),
            port=thread - _PORTS if thread >= _PORTS else None,
        )
    )


def _choose(
    name: str, found: Mapping[_Launch, Sequence[Interval]], unfinished: set[_Launch], launch: int | None
) -> _Launch:
    if launch is not None:
        there = [key for key in found if key[1] == launch]
        if not there:
            numbers = sorted({key[1] for key in found})
            raise UsageError(f"{name}: has no launch {launch}: it has {numbers[0]} to {numbers[-1]}")
        return max(there, key=lambda key: len({i.rank for i in found[key]}))
    return max(found, key=lambda key: (key not in unfinished, len({i.rank for i in found[key]}), key[1]))
