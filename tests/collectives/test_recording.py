"""What a recorded run leaves: every instruction of every launch, nested, ordered across ranks; also after an error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hal.interface.device import Device
from hal.interface.errors import ConfigError, NotSupported, PeerFailure, StallTimeout
from hal.plan.draw import read_trace
from hal.plan.lower import walk
from hal.plan.model import Loop
from hal.plan.text import describe, numbered, path_text
from hal.plan.trace_file import TraceFile
from hal.runtime.group import open_device
from hal_collectives import launch
from hal_collectives.algorithms import get
from hal_host.settings import HostSettings

Event = dict[str, Any]
LAUNCHES = 3


def load(file: Path) -> list[Event]:
    """The events of a trace."""
    events: list[Event] = json.loads(file.read_text())["traceEvents"]
    return events


def spans(file: Path) -> list[Event]:
    return [e for e in load(file) if e["ph"] == "X"]


def record(file: Path, size: int, algorithm: str, count: int, launches: int = LAUNCHES, **more: Any) -> None:
    """Some all_reduces of an algorithm, recorded."""
    pin = {"algorithms__all_reduce": algorithm}

    def body(comm: Any) -> None:
        x = comm.empty(count, np.float32)
        x[:] = comm.rank
        for _ in range(launches):
            comm.all_reduce(x, comm.empty(count, np.float32))

    launch.run_local(size, body, trace=str(file), **pin, **more)


@pytest.mark.parametrize(
    ("algorithm", "size", "count"), [("ring", 3, 500_000), ("all_pairs_ll", 2, 8), ("staged", 4, 900_000)]
)
def test_every_instruction_is_there_once_a_launch_and_a_piece(
    tmp_path: Path, algorithm: str, size: int, count: int
) -> None:
    file = tmp_path / "trace.json"
    record(file, size, algorithm, count)
    plan = get("all_reduce", algorithm).build(size)
    found = Counter(
        (e["pid"], e["args"]["launch"], e["args"]["block"], e["args"]["instruction"], e["args"].get("piece"), e["name"])
        for e in spans(file)
        if e["cat"] not in ("launch", "loop", "piece")
    )
    assert set(found.values()) == {1}
    pieces = max((e["args"]["piece"] + 1 for e in spans(file) if e["cat"] == "piece"), default=0)
    looping = any(isinstance(i, Loop) for block in plan.ranks[0].blocks for i in block)
    assert (pieces > 1) == looping, "the test is to have loops of several pieces"
    expected = set()
    for r, rank in enumerate(plan.ranks):
        for b, block in enumerate(rank.blocks):
            for path, instruction in numbered(block):
                if isinstance(instruction, Loop):
                    continue
                text = describe(instruction, rank.channels)
                for number in range(1, LAUNCHES + 1):
                    for piece in range(pieces) if len(path) > 1 else [None]:
                        expected.add((r, number, b, path_text(path), piece, text))
    assert set(found) == expected
    calls = Counter((e["pid"], e["args"]["plan"]) for e in spans(file) if e["cat"] == "launch")
    assert calls == {(r, plan.name): LAUNCHES for r in range(size)}


def test_events_of_a_thread_nest(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    record(file, 2, "ring", 600_000)
    threads: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for e in spans(file):
        start = round(e["ts"] * 1000)
        threads[e["pid"], e["tid"]].append((start, start + round(e["dur"] * 1000)))
    assert len(threads) == 4, "blocks and calls of two ranks"
    for found in threads.values():
        open_until: list[int] = []
        for start, end in sorted(found, key=lambda s: (s[0], -s[1])):
            while open_until and open_until[-1] <= start:
                open_until.pop()
            assert not open_until or end <= open_until[-1]
            open_until.append(end)


def test_a_wait_ends_after_the_signal_began(tmp_path: Path) -> None:
    """Across ranks: their clocks are one."""
    file = tmp_path / "trace.json"
    record(file, 2, "ring", 30_000)
    ends: dict[tuple[int, str, int], list[float]] = defaultdict(list)
    for e in sorted(spans(file), key=lambda e: float(e["ts"])):
        if e["cat"] == "signal":
            ends[e["args"]["launch"], "signal", e["args"]["peer"]].append(e["ts"])
        elif e["cat"] == "wait":
            ends[e["args"]["launch"], "wait", e["pid"]].append(e["ts"] + e["dur"])
    checked = 0
    for (number, kind, rank), signalled in list(ends.items()):
        if kind == "signal":
            waited = ends[number, "wait", rank]
            assert len(waited) == len(signalled)
            assert all(a <= b for a, b in zip(signalled, sorted(waited), strict=True))
            checked += len(waited)
    assert checked >= 2 * LAUNCHES


def test_a_recorded_run_can_be_drawn(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    record(file, 2, "ring", 30_000)
    last = read_trace(file)
    assert {i.rank for i in last.intervals} == {0, 1}
    assert f"launch {LAUNCHES}" in last.source
    assert "ring: all_reduce, 30000 elements of float32" in last.name
    assert "launch 1 " in read_trace(file, 1).source


def test_messages_of_a_pair_and_of_a_part_have_threads_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"

    def body(comm: Any) -> None:
        comm.barrier()
        comm.send(np.ones(4), 2) if comm.rank == 0 else comm.recv(np.ones(4), 0) if comm.rank == 2 else None
        part = comm.split(comm.rank % 2)
        part.all_reduce(np.ones(4))
        part.close()

    launch.run_local(3, body, trace=str(file))
    names = {e["args"]["name"] for e in load(file) if e["name"] == "thread_name"}
    assert {"block 0", "calls", "block 0 (ranks 0, 2)", "calls (ranks 0, 2)"} <= names
    assert {e["args"]["peer"] for e in spans(file) if e["args"].get("ranks") == "0, 2" and "peer" in e["args"]} == {
        0,
        2,
    }


@pytest.mark.parametrize("registered", [False, True])
def test_a_rank_with_plain_arrays_begins_before_the_others_have_called(tmp_path: Path, registered: bool) -> None:
    """Its own array rules registered memory out. One that is registered does not settle it: the others' may not be."""
    file = tmp_path / "trace.json"
    count = 1 << 20

    def body(comm: Any) -> None:
        x = comm.empty(count, np.float32) if registered else np.empty(count, np.float32)
        x[:] = 1
        comm.barrier()
        if comm.rank == 0:
            time.sleep(0.05 if registered else 1)  # time enough for rank 1 on a busy machine
        comm.reduce_scatter(x)

    launch.run_local(2, body, trace=str(file), algorithms__reduce_scatter="direct_mapped")
    late = min(e["ts"] for e in spans(file) if e["pid"] == 0 and e["name"].startswith("reduce_scatter"))
    first = min(e["ts"] + e["dur"] for e in spans(file) if e["pid"] == 1 and e["cat"] == "move")
    assert (first > late) == registered


def test_a_file_for_each_rank(tmp_path: Path) -> None:
    record(tmp_path / "trace-%r.json", 2, "ring", 8)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["trace-0.json", "trace-1.json"]
    for rank in range(2):
        assert {e["pid"] for e in load(tmp_path / f"trace-{rank}.json")} == {rank}


def test_a_bound_on_memory_keeps_the_last_and_counts_the_others(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    record(file, 1, "ring", 8, launches=100, host__trace_events=20)
    assert len(spans(file)) == 20
    assert max(e["args"]["launch"] for e in spans(file)) == 100
    (note,) = (e for e in load(file) if e["ph"] == "i")
    plan = get("all_reduce", "ring").build(1)
    total = 100 * (1 + sum(1 for block in plan.ranks[0].blocks for _ in walk(block)))
    assert note["args"]["dropped"] == total - 20
    assert "host.trace_events is 20" in note["name"]


def test_nothing_is_recorded_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HAL_TRACE", raising=False)
    launch.run_local(2, lambda comm: comm.all_reduce(np.ones(4)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["none/trace.json", ".", "/proc/trace.json"])
def test_a_path_that_cannot_be_written_is_refused_at_once(tmp_path: Path, path: str) -> None:
    reached = []
    with pytest.raises(ConfigError, match=r"trace: .* cannot be written"):
        launch.run_local(1, reached.append, trace=str(tmp_path / path))
    assert reached == []


def test_a_device_that_records_nothing_says_so() -> None:
    device = open_device("host", HostSettings())
    with pytest.raises(NotSupported, match="records no traces"):
        Device.record(device, None, 0)  # type: ignore[arg-type]  # it does not get that far
    device.close()


def test_where_a_stall_stands_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"

    def body(comm: Any) -> None:
        comm.all_reduce(np.ones(4))
        if comm.rank == 0:
            with pytest.raises((StallTimeout, PeerFailure)):
                comm.all_reduce(np.ones(4))
            # before anything is closed
            assert any(e["args"].get("unfinished") for e in spans(file))

    launch.run_local(2, body, trace=str(file), timeout=0.3, algorithms__all_reduce="ring")
    stood = [e for e in spans(file) if e["args"].get("unfinished") and e["cat"] == "wait"]
    assert {e["pid"] for e in stood} == {0}
    assert all(e["dur"] > 100_000 for e in stood)
    assert "launch 1 " in read_trace(file).source, "the one that all completed"


PROGRAM = """
import os, signal, sys
import numpy as np, hal_collectives
comm = hal_collectives.init()
for _ in range(5):
    comm.all_reduce(np.ones(1000, np.float32))
if comm.rank == 1:
    {end}
comm.all_reduce(np.ones(1000, np.float32))
"""


@pytest.mark.parametrize(
    ("end", "recorded"),
    [
        ("raise RuntimeError('on purpose')", {0, 1}),
        ("sys.exit(3)", {0, 1}),
        ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", {0, 1}),
        ("os.kill(os.getpid(), signal.SIGKILL)", {0}),
    ],
)
def test_a_rank_that_ends_early_leaves_a_file_that_can_be_read(tmp_path: Path, end: str, recorded: set[int]) -> None:
    file, program = tmp_path / "trace.json", tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM.format(end=end)))
    done = subprocess.run(
        [sys.executable, "-c", "from hal.cli import main; main()", "run", "-n", "2", str(program)],
        env={**os.environ, "HAL_TRACE": str(file)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode != 0
    found = Counter(e["pid"] for e in spans(file) if e["cat"] == "launch" and not e["args"].get("unfinished"))
    assert found == dict.fromkeys(recorded, 5), done.stderr


INTERRUPTED = """
import os, signal
import numpy as np, hal_collectives
from hal.plan.trace_file import TraceFile
comm = hal_collectives.init(timeout=30)
for _ in range(5):
    comm.all_reduce(np.ones(1000, np.float32))
write = TraceFile.append
def interrupted(file, events):
    os.kill(os.getpid(), signal.SIGTERM)
    write(file, events)
TraceFile.append = interrupted
comm.close()
print("not reached")
"""


def test_a_rank_that_is_ended_while_it_writes_writes_all(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        env={**os.environ, "HAL_TRACE": str(file)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, ""), done.stderr
    assert sum(e["cat"] == "launch" for e in spans(file)) == 5


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    """As by a rank that was killed while it wrote."""
    file = TraceFile(str(tmp_path / "trace.json"), 0)
    event = json.dumps({"ph": "M", "args": {}})
    file.append([event, event])
    with file.path.open("rb+") as handle:
        handle.truncate(file.path.stat().st_size - 7)
    TraceFile(str(tmp_path / "trace.json"), 1).append([event])
    assert 2 <= len(load(file.path)) <= 3
