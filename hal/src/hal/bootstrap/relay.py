"""Passes the ranks' output on, line by line, each line marked with its rank."""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import time
from typing import IO, BinaryIO

_CHUNK = 1 << 16
_QUIET = 0.2  # seconds without output after which, all ranks having ended, nothing more is expected
_COLOURS = (36, 33, 32, 35, 34, 31)


def make_prefix(rank: int, *, colour: bool) -> bytes:
    """`[rank] `, in the rank's colour where the output is a terminal."""
    text = f"[{rank}] "
    return (f"\x1b[{_COLOURS[rank % len(_COLOURS)]}m{text}\x1b[0m" if colour else text).encode()


class LineMarker:
    """Cuts one stream of bytes into lines and puts a prefix before each. The bytes themselves are passed unchanged.

    A line longer than `limit` bytes comes out in several, each with the prefix, so that memory stays bounded.
    """

    def __init__(self, prefix: bytes, limit: int = 1 << 16) -> None:
        self._prefix = prefix
        self._limit = limit
        self._partial = b""

    def feed(self, data: bytes) -> bytes:
        """The lines that `data` completes."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        pieces = [piece for line in lines for piece in self._pieces(line)]
        if len(self._partial) > self._limit:
            *full, self._partial = self._pieces(self._partial)
            pieces += full
        return b"".join(self._prefix + piece + b"\n" for piece in pieces)

    def finish(self) -> bytes:
        """What is left at the end of the stream: a last line that lacks its newline, which is added."""
        partial, self._partial = self._partial, b""
        return self._prefix + partial + b"\n" if partial else b""

    def _pieces(self, line: bytes) -> list[bytes]:
        return [line[at : at + self._limit] for at in range(0, max(1, len(line)), self._limit)]


class Relay:
    """A thread that copies from the ranks' pipes to this process's outputs.

    Owns the pipes given to it. When an output can no longer be written to, the pipes that lead there are closed, so
    that the ranks meet the broken pipe themselves.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._all_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hal-run-output", daemon=True)

    def add(self, pipe: IO[bytes], marker: LineMarker, output: BinaryIO) -> None:
        """Copy one pipe to one output. Only before `start`."""
        os.set_blocking(pipe.fileno(), False)
        self._selector.register(pipe, selectors.EVENT_READ, (pipe, marker, output))

    def start(self) -> None:
        """Begin to copy."""
        self._thread.start()

    def finish(self) -> None:
        """Say that all ranks have ended: what they wrote is still copied, what outlived them is not waited for."""
        self._all_ended.set()

    def wait(self, timeout: float) -> bool:
        """Wait until all is copied; whether it is."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._selector.get_map():
            ended = self._all_ended.is_set()
            ready = self._selector.select(_QUIET)
            for key, _ in ready:
                self._copy(*key.data)
            if ended and not ready:
                break
        for key in list(self._selector.get_map().values()):
            self._close(*key.data)
        self._selector.close()

    def _copy(self, pipe: IO[bytes], marker: LineMarker, output: BinaryIO) -> None:
        try:
            data = os.read(pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if not data or not write_all(output, marker.feed(data)):
            self._close(pipe, marker, output)

    def _close(self, pipe: IO[bytes], marker: LineMarker, output: BinaryIO) -> None:
        self._selector.unregister(pipe)
        pipe.close()
        write_all(output, marker.finish())


def write_all(output: BinaryIO, data: bytes) -> bool:
    """Write all of `data`; False where the output is broken or closed."""
    view = memoryview(data)
    try:
        while view:
            # an unbuffered output may take a part, or (None) nothing for now
            written = output.write(view)
            if written is None:
                time.sleep(0.01)
            else:
                view = view[written:]
        output.flush()
    except (OSError, ValueError):
        return False
    return True


def is_terminal(output: BinaryIO) -> bool:
    """Whether colours make sense on this output (and `NO_COLOR` does not forbid them)."""
    with contextlib.suppress(ValueError):
        return output.isatty() and not os.environ.get("NO_COLOR")
    return False
