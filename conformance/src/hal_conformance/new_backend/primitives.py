"""The primitives and their clauses, as stubs show them."""

from __future__ import annotations

import functools
import importlib.resources
import itertools
import textwrap
from collections.abc import Iterable, Mapping

import yaml

from hal.interface.capability import Capability
from hal.interface.errors import UsageError, unknown_name
from hal_conformance.clauses import CORE, FACETS, Clause, clauses
from hal_conformance.next_step import page_of

_COLUMNS = 120
_INDENT = 8
_MOST_TEXTS = 15
"""So many clauses a stub quotes; of more it gives the ids."""


@functools.cache
def primitives() -> Mapping[str, tuple[Clause, ...]]:
    """Each primitive with its clauses."""
    text = importlib.resources.files(__package__).joinpath("primitives.yaml").read_text("utf-8")
    return {name: tuple(itertools.chain(*map(_range, ids))) for name, ids in yaml.safe_load(text).items()}


def _range(text: str) -> list[Clause]:
    first, _, last = text.partition(" to ")
    known = list(clauses())
    found = [clauses()[one] for one in known[known.index(first) : known.index(last or first) + 1]]
    assert found, text
    return found


def ranges(tested: Iterable[Clause]) -> list[str]:
    """The ids, those that follow each other drawn together."""
    known = list(clauses())
    runs: list[list[str]] = []
    for clause in tested:
        follows = runs and known.index(runs[-1][-1]) + 1 == known.index(clause.id)
        if follows and runs[-1][-1][:7] == clause.id[:7]:
            runs[-1].append(clause.id)
        else:
            runs.append([clause.id])
    return [run[0] if len(run) == 1 else f"{run[0]}{' to ' if len(run) > 2 else ', '}{run[-1]}" for run in runs]


def level(clause: Clause) -> str:
    """MUST or SHOULD, and what the clause is of where that is something optional."""
    usual = clause.feature in (CORE, *FACETS, Capability.EXECUTOR.value)
    return clause.level if usual else f"{clause.level}, {clause.feature}"


def stub(name: str) -> str:
    """The body of a stub, not indented: what it has to fulfil, as comments, and the error."""
    if name not in primitives():
        raise UsageError(unknown_name("primitive", name, primitives()))
    tested = primitives()[name]
    width = _COLUMNS - _INDENT
    lines = []
    if len(tested) <= _MOST_TEXTS:
        for clause in tested:
            text = f"{clause.id} ({level(clause)}) {clause.text}"
            lines += textwrap.wrap(text, width, initial_indent="# ", subsequent_indent="#   ")
    else:
        for page, those in itertools.groupby(tested, lambda clause: page_of(clause.id)):
            lines.append(f"# {', '.join(ranges(those))}: {page}")
    named = ", ".join(ranges(tested)[:2])
    page = page_of(tested[0].id).removeprefix("docs/spec/").removesuffix(".md")
    arguments = ", ".join(f'"{one}"' for one in (name, named, page))
    line = f"raise unwritten({arguments})"
    lines += [line] if len(line) <= width else ["raise unwritten(", f"    {arguments}", ")"]
    return "\n".join(lines)
