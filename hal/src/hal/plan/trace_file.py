"""Trace files: the Chrome trace event format on disk, appended to by every rank of a job.

A file is one JSON object with an event on every line. It is complete whenever nobody is writing: who appends takes a
lock on it (`flock`), replaces the end by its events and writes the end again. So it can be read while ranks still run,
by who holds a shared lock meanwhile, and after some of them were lost.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from hal.interface.errors import ConfigError
from hal.plan.model import Channel, Instruction, Move, Post, Signal, Wait

_HEAD = b'{"displayTimeUnit":"ns","traceEvents":[\n'
_TAIL = b"\n]}\n"
_LONGEST_LINE = 1 << 20

PATIENCE = 30.0
"""Seconds that who writes or reads a trace waits for others who do."""

RANK = "%r"
"""What stands for the rank in the name of a trace file."""

_begun: set[tuple[int, str]] = set()
"""The files that this process has begun, with its number, which differs in a child of a fork."""


class TraceFile:
    """One trace file as one rank writes it.

    `pattern` is its path, in which `%r` stands for the rank; without that all ranks of a job share the file, which
    rank 0 begins anew. A process that begins the same file a second time appends to what it wrote. `ConfigError` where
    the file cannot be written.
    """

    def __init__(self, pattern: str, rank: int) -> None:
        self.path = Path(pattern.replace(RANK, str(rank))).absolute()
        key = (os.getpid(), str(self.path))
        begin = (rank == 0 or RANK in pattern) and key not in _begun
        try:
            if not self.path.parent.is_dir():
                raise FileNotFoundError(2, "its folder does not exist")
            handle = self._open()
            try:
                if begin:
                    os.ftruncate(handle, 0)
            finally:
                os.close(handle)
        except OSError as error:
            raise ConfigError(f"trace: {str(self.path)!r} cannot be written: {error.strerror}", rank=rank) from None
        if begin:
            _begun.add(key)
            self.append([])

    def _open(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def append(self, events: Iterable[str]) -> None:
        """Add events, each a JSON object on one line; with none the file becomes a trace without events."""
        text = ",\n".join(events).encode()
        handle = self._open()
        try:
            _lock(handle, fcntl.LOCK_EX)
            end, empty = _end_of_events(handle)
            before = _HEAD if empty else b",\n" if text else b""
            _write(handle, before + text + _TAIL, end)
        finally:
            os.close(handle)


def _end_of_events(handle: int) -> tuple[int, bool]:
    """Where the last complete event of a file ends, and whether there is none."""
    size = os.fstat(handle).st_size
    begin = max(0, size - _LONGEST_LINE)
    last = os.pread(handle, size - begin, begin)
    # a writer that was killed has left its last line cut off
    end = size - len(_TAIL) if last.endswith(_TAIL) else begin + last.rfind(b"},\n") + 1
    return (end, False) if end > len(_HEAD) else (0, True)


def _write(handle: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    end = at + len(data)
    while view:
        written = os.pwrite(handle, view, at)
        view, at = view[written:], at + written
    os.ftruncate(handle, end)


def _lock(handle: int, kind: int) -> None:
    """`TimeoutError` where another process, stopped perhaps, keeps the lock beyond `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                why = f"another process has kept it locked for {PATIENCE:g} s"
                raise TimeoutError(errno.ETIMEDOUT, why) from None
        time.sleep(0.001)


def read_complete(path: Path) -> bytes:
    """What a trace file holds while nobody is writing it. `OSError` where it cannot be read, or not in time."""
    with path.open("rb") as file:
        _lock(file.fileno(), fcntl.LOCK_SH)
        return file.read()


def peer_of(instruction: Instruction, rank: int, channels: Sequence[Channel]) -> int | None:
    """The other rank that an instruction of `rank` is about, where it is exactly one; else None."""
    found: set[int | None] = set()
    match instruction:
        case Move():
            for span in (*instruction.dst, *instruction.src):
                found |= set(channels[span.switch].peers) if span.switch is not None else {span.peer}
        case Post():
            found.add(channels[instruction.channel].peer)
        case Signal() | Wait():
            found |= {channels[c].peer for c in instruction.channels}
    others = found - {rank, None}
    return others.pop() if len(others) == 1 else None
