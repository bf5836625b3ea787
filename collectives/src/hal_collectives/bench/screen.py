"""Where rank 0 prints: the table on stdout, line by line, and how far it is on stderr where that is a terminal."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Screen:
    """Prints lines, and shows which row is being measured.

    `labels` names the rows in order: a line that is no comment ends one. The display changes between rows alone; a
    thread that refreshes it would disturb what is measured.
    """

    def __init__(self, labels: Sequence[str], *, output: TextIO, progress: bool) -> None:
        self._labels = [*labels, "done"]
        self._rows = 0
        self._output = output
        self._progress: Progress | None = None
        if progress:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._progress.add_task(self._labels[0], total=len(labels))

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def line(self, text: str) -> None:
        """Print a line of the table."""
        with self.hidden():
            print(text, file=self._output, flush=True)
            if self._progress is not None and text and not text.startswith("#"):
                self._rows = min(self._rows + 1, len(self._labels) - 1)
                self._progress.update(self._task, completed=self._rows, description=self._labels[self._rows])

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the display away while something else is printed."""
        if self._progress is None:
            yield
            return
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()


class LinesTo(io.RawIOBase):
    """A stream for the output of ranks in other processes, which goes to a screen, or past it to stderr."""

    def __init__(self, screen: Screen, *, errors: bool = False) -> None:
        self._screen = screen
        self._errors = errors

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """Whether what is written ends up on a terminal."""
        return (sys.stderr if self._errors else sys.stdout).isatty()

    def write(self, data: Any, /) -> int:
        """Pass on whole lines, as `hal.bootstrap.relay` gives them."""
        content = bytes(data)
        if self._errors:
            with self._screen.hidden():
                sys.stderr.write(content.decode(errors="replace"))
                sys.stderr.flush()
        else:
            for text in content.decode(errors="replace").splitlines():
                self._screen.line(text)
        return len(content)
