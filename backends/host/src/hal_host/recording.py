"""Recording: what a rank's executors ran, from the native part's records to events of a trace file.

A rank is a process of the trace, a block of a communicator a thread of it. Numbers of ranks are those of the job.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from hal.interface.dtypes import DType, ReduceOp
from hal.plan.model import Instruction, Plan
from hal.plan.text import Path, describe, numbered, path_text
from hal.plan.trace_file import TraceFile, peer_of
from hal_host import _native

RECORD = np.dtype(
    {
        "names": ["start", "end", "launch", "bytes", "source", "block", "position", "piece", "event", "unfinished"],
        "formats": ["i8", "i8", "u8", "u8", "i4", "i4", "i4", "i4", "u1", "?"],
        "offsets": [0, 8, 16, 24, 32, 36, 40, 44, 48, 49],
        "itemsize": 56,
    }
)
"""`hal::Record` as it lies in memory."""

INSTRUCTION, PIECE, LOOP, LAUNCH = range(4)
"""The codes of `hal::Event`."""

_THREADS = 2_000_000
"""Thread numbers of a communicator in a trace: first its blocks, then the ports of a simulated one, last its calls."""
_AT_ONCE = 4096

Row = tuple[int, int, int, int, int, int, int, int, int, bool]
"""The fields of a record, in the order of `RECORD`."""


@dataclass(frozen=True)
class _Source:
    """What the records of one executable mean."""

    lane: int
    collective: str
    plans: tuple[Plan, Plan | None]


@dataclass(frozen=True)
class _Lane:
    rank: int
    """Among its members."""
    ranks: tuple[int, ...]
    label: str


class Recording:
    """The records of one rank, written to `file` when it is flushed, and at the latest when the process ends.

    At most `capacity` of them are kept between two flushes, the last ones; the file says how many were dropped.
    """

    def __init__(self, file: TraceFile, rank: int, capacity: int) -> None:
        self.recorder = _native.Recorder(capacity)
        self._file = file
        self._rank = rank
        self._capacity = capacity
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._writing = False
        self._lanes: list[_Lane] = []
        self._sources: list[_Source] = []
        self._numbers: dict[tuple[int, str, int, int], int] = {}
        self._named: set[int] = set()
        self._heads: dict[tuple[int, int, int], tuple[str, str]] = {}
        _open.append(self)
        _watch_for_the_end()

    def add_lane(self, lane: _native.Lane, ranks: tuple[int, ...]) -> int:
        """Record what runs on a lane of these ranks from now on; its number."""
        with self._lock:
            self._lanes.append(_Lane(lane.rank, ranks, ", ".join(map(str, ranks))))
            lane.record(self.recorder)
            return len(self._lanes) - 1

    def add_source(self, lane: int, collective: str, plan: Plan, mapped: Plan | None) -> int:
        """The number by which an executable's records name it. Executables of the same plans share one."""
        with self._lock:
            key = (lane, collective, id(plan), id(mapped))
            if key not in self._numbers:
                self._numbers[key] = len(self._sources)
                self._sources.append(_Source(lane, collective, (plan, mapped)))  # the plans live as long as their ids
            return self._numbers[key]

    def flush(self) -> None:
        """Write what was recorded since the last time."""
        with self._lock:
            # also called by the handler of a signal that comes while this runs
            if self._writing or self._pid != os.getpid():
                return
            self._writing = True
            try:
                data, dropped = self.recorder.take()
                records = np.frombuffer(data, RECORD)
                if len(records):
                    self._write(records, dropped)
            finally:
                self._writing = False
        _send_again()

    @property
    def writing(self) -> bool:
        """Whether a flush is under way."""
        return self._writing

    def close(self) -> None:
        """Write the rest."""
        self.flush()
        if self in _open:
            _open.remove(self)

    def _write(self, records: np.ndarray[Any, Any], dropped: int) -> None:
        lines: list[str] = []
        if not self._named:
            self._named.add(-1)
            lines.append(self._metadata("process_name", 0, "name", f"rank {self._rank}"))
            lines.append(self._metadata("process_sort_index", 0, "sort_index", self._rank))
        if dropped:
            lines.append(self._dropped(dropped, int(records["start"][0])))
        for row in self._merged(records):
            lines += self._event(row)
            if len(lines) >= _AT_ONCE:
                self._file.append(lines)
                lines = []
        self._file.append(lines)

    def _merged(self, records: np.ndarray[Any, Any]) -> Iterator[Row]:
        """The records as tuples, those of one instruction that the lowering has cut in two put together again."""
        pending: dict[tuple[int, int], Row] = {}
        for at in range(0, len(records), _AT_ONCE):
            row: Row
            for row in records[at : at + _AT_ONCE].tolist():
                key = (self._sources[row[4] >> 1].lane, row[5])
                last = pending.get(key)
                if last is not None and row[8] == INSTRUCTION and row[2:3] + row[4:9] == last[2:3] + last[4:9]:
                    pending[key] = (last[0], row[1], row[2], max(last[3], row[3]), *row[4:])
                    continue
                if last is not None:
                    yield last
                pending[key] = row
        yield from pending.values()

    def _event(self, row: Row) -> Iterator[str]:
        start, end, launch, nbytes, source, block, position, piece, event, unfinished = row
        of = self._sources[source >> 1]
        thread = of.lane * _THREADS + (block if event != LAUNCH else _THREADS - 1)
        if thread not in self._named:
            self._named.add(thread)
            yield self._thread(of.lane, block, thread)
        details = f'"launch":{launch}'
        if event == LAUNCH:
            name = f"{of.collective} {launch}"
            head = f'"name":{json.dumps(name)},"cat":"launch"'
            plan = of.plans[source & 1] or of.plans[0]
            what = {
                "plan": plan.name,
                "ranks": self._lanes[of.lane].label,
                "count": nbytes,
                "dtype": DType(position & 0xFF).label,
            }
            if position >> 8 or of.collective in ("all_reduce", "reduce", "reduce_scatter"):
                what["op"] = ReduceOp(position >> 8).label
            details += "," + json.dumps(what)[1:-1]
        else:
            head, fixed = self._head(source, block, position)
            details += fixed
            if event != INSTRUCTION:
                name = f"piece {piece}" if event == PIECE else "loop"
                head = f'"name":"{name}","cat":"{name.split()[0]}"'
            if piece >= 0:
                details += f',"piece":{piece}'
            if nbytes and event == INSTRUCTION:
                details += f',"bytes":{nbytes}'
        if unfinished:
            details += ',"unfinished":true'
        length = end - start
        yield (
            f'{{"ph":"X",{head},"pid":{self._rank},"tid":{thread},"ts":{start // 1000}.{start % 1000:03d},'
            f'"dur":{length // 1000}.{length % 1000:03d},"args":{{{details}}}}}'
        )

    def _head(self, source: int, block: int, position: int) -> tuple[str, str]:
        """Name and category of an instruction, and the details that are the same in every launch."""
        key = (source, block, position)
        if key not in self._heads:
            of = self._sources[source >> 1]
            lane = self._lanes[of.lane]
            path, instruction = _instruction(of.plans[source & 1] or of.plans[0], lane.rank, block, position)
            channels = (of.plans[source & 1] or of.plans[0]).ranks[lane.rank].channels
            peer = peer_of(instruction, lane.rank, channels)
            kind = type(instruction).__name__.lower()
            details = f',"ranks":{json.dumps(lane.label)},"block":{block},"instruction":"{path_text(path)}"'
            if peer is not None:
                details += f',"peer":{lane.ranks[peer]}'
            self._heads[key] = f'"name":{json.dumps(describe(instruction, channels))},"cat":"{kind}"', details
        return self._heads[key]

    def _thread(self, lane: int, block: int, thread: int) -> str:
        name = "calls" if block < 0 else f"block {block}"
        if lane > 0:
            name += f" (ranks {self._lanes[lane].label})"
        return self._metadata("thread_name", thread, "name", name)

    def _metadata(self, what: str, thread: int, key: str, value: str | int) -> str:
        event = {"ph": "M", "name": what, "pid": self._rank, "tid": thread, "args": {key: value}}
        return json.dumps(event, separators=(",", ":"))

    def _dropped(self, number: int, before: int) -> str:
        event = {
            "ph": "i",
            "s": "p",
            "name": f"{number} earlier events were dropped: host.trace_events is {self._capacity}",
            "cat": "dropped",
            "pid": self._rank,
            "tid": 0,
            "ts": before / 1000,
            "args": {"dropped": number},
        }
        return json.dumps(event, separators=(",", ":"))


def _instruction(plan: Plan, rank: int, block: int, position: int) -> tuple[Path, Instruction]:
    return next(found for at, found in enumerate(numbered(plan.ranks[rank].blocks[block])) if at == position)


_open: list[Recording] = []
_watching = False
_postponed: int | None = None
"""The signal that came while a recording was written, to be sent again when that is done."""


def _watch_for_the_end() -> None:
    """Write what there is when the process ends: by itself, by an error, or by the SIGTERM of a launcher."""
    global _watching
    if not _watching:
        _watching = True
        atexit.register(_flush_all)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminated)


def _flush_all() -> None:
    for recording in tuple(_open):
        recording.flush()


def _terminated(number: int, _: FrameType | None) -> None:
    global _postponed
    _flush_all()
    if any(recording.writing for recording in _open):
        _postponed = number
        return
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _send_again() -> None:
    global _postponed
    number, _postponed = _postponed, None
    if number is not None:
        os.kill(os.getpid(), number)  # whichever thread has written: the main one handles it
