"""What a worker has written, in a file that has no name: nothing of it is left, however its readers and writers end."""

from __future__ import annotations

import os
import tempfile
from multiprocessing import reduction
from typing import Any

_MOST = 1 << 18
"""Bytes that are read back: the last ones."""


class Log:
    """A nameless file. Sent to a process that is being started, it is the same file there."""

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        self.descriptor = descriptor

    def __reduce__(self) -> Any:
        return _received, (reduction.DupFd(self.descriptor),)

    def text(self) -> str:
        """The end of what was written so far. Where the next byte goes is not changed: that is shared."""
        size = os.fstat(self.descriptor).st_size
        return os.pread(self.descriptor, _MOST, max(0, size - _MOST)).decode("utf-8", "replace")

    def close(self) -> None:
        """Close it on this side."""
        os.close(self.descriptor)


def _received(sent: Any) -> Log:
    return Log(sent.detach())
