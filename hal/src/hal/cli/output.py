"""How commands print: tables and errors, in colour on a terminal alone."""

from __future__ import annotations

import os
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH_OF_FILES = 200


def console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is: what plug-ins and files say is never taken for markup.

    Away from a terminal lines are long, so that tables are whole for `grep` and `less -S`; COLUMNS says otherwise.
    """
    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _WIDTH_OF_FILES
    return made


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str | Text]]) -> Table:
    """A table that folds long cells, so that nothing is cut off."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return made


def good_or_bad(word: str, good: bool) -> Text:
    """A state, green where it is good and red where it is not."""
    return Text(word, style="green" if good else "bold red")


def print_error(message: str) -> None:
    """Print `error: …` to stderr, unwrapped, so that it stays one line in a log."""
    console(stderr=True).print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
