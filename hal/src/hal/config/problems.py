"""Collecting what is wrong, so that one error tells all of it."""

from __future__ import annotations

from hal.config.document import LARGEST_FILE, Document
from hal.interface.errors import ConfigError

_MOST_PROBLEMS = 20
_BEHIND_THE_FILE = LARGEST_FILE + 2  # past every line a file can have


class Problems:
    """The problems found so far: all are reported in one error, up to a number that a person would read.

    `heading` begins an error of several.
    """

    def __init__(self, heading: str = "the configuration has several problems:") -> None:
        self._heading = heading
        self._found: list[tuple[int, str]] = []

    def add(self, where: str, what: str) -> None:
        """Note a problem outside the file; raises at once where there are too many to go on."""
        self._add(_BEHIND_THE_FILE, f"{where}: {what}")

    def add_in_file(self, document: Document, line: int, what: str) -> None:
        """Note a problem in a line of the file."""
        self._add(line, f"{document.label}:{line}: {what}")

    def _add(self, line: int, problem: str) -> None:
        self._found.append((line, problem))
        if len(self._found) == _MOST_PROBLEMS:
            self._found.append((_BEHIND_THE_FILE, "further problems are not shown"))
            self.raise_any()

    def raise_any(self) -> None:
        """Raise `ConfigError` where there is a problem."""
        problems = [problem for _, problem in sorted(self._found, key=lambda found: found[0])]
        if len(problems) == 1:
            raise ConfigError(problems[0])
        if problems:
            raise ConfigError("\n  ".join([self._heading, *problems]))
