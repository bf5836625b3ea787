"""The vendor's guide as data: its blocks of code, and what they do to the stubs of a package that was generated.

A block goes into the file that the comment before it names. Its imports are added there, and its functions and methods
take the place of those of the same name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

GUIDE = Path(__file__).parents[2] / "docs" / "vendor-guide.md"
_MARK = re.compile(
    r"^<!-- (into|pass|left of [\w-]+|shell|ends with)(?:: (.*?))? -->$(?:\n^```\w*\n(.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)


@attrs.frozen
class Step:
    """A comment of the guide that a test goes by, and the block that follows it."""

    kind: str
    about: str
    block: str


def steps() -> Iterator[Step]:
    """All of them, in order."""
    for found in _MARK.finditer(GUIDE.read_text("utf-8")):
        yield Step(found[1], found[2] or "", found[3] or "")


def apply(block: str, path: Path) -> None:
    """Put a block into a file of the generated package."""
    if not path.exists():
        path.write_text(block, "utf-8")
        return
    lines = path.read_text("utf-8").splitlines()
    source = block.splitlines()
    for node in ast.parse(block).body:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Assign):
            _put(lines, _end(_imports(lines)[-1]), _lines_of(node, source))
        elif isinstance(node, ast.ClassDef):
            above: ast.stmt | None = None
            for method in node.body:
                _define(lines, method, _lines_of(method, source), above, owner=node.name)
                above = method
        else:
            _define(lines, node, _lines_of(node, source), None)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _define(lines: list[str], node: ast.stmt, own: list[str], above: ast.stmt | None, owner: str = "") -> None:
    """Put a definition in the place of that of its name; else below the one `above`, first in its class, or last."""
    body: list[ast.stmt] = ast.parse("\n".join(lines)).body
    if owner:
        body = next(one.body for one in body if isinstance(one, ast.ClassDef) and one.name == owner)
    functions = {one.name: one for one in body if isinstance(one, ast.FunctionDef)}
    assert isinstance(node, ast.FunctionDef), ast.dump(node)
    if (found := functions.get(node.name)) is not None:
        _put(lines, _start(found), own, until=_end(found))
    elif not owner:
        _put(lines, len(lines), ["", "", *own])
    elif isinstance(above, ast.FunctionDef):
        _put(lines, _end(functions[above.name]), ["", *own])
    else:
        _put(lines, _start(next(iter(functions.values()))), [*own, ""])


def _put(lines: list[str], at: int, own: list[str], *, until: int | None = None) -> None:
    lines[at : at if until is None else until] = own


def _imports(lines: list[str]) -> list[ast.stmt]:
    return [one for one in ast.parse("\n".join(lines)).body if isinstance(one, ast.Import | ast.ImportFrom)]


def _start(node: ast.stmt) -> int:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    return min([node.lineno, *(one.lineno for one in decorators)]) - 1


def _end(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno


def _lines_of(node: ast.stmt, source: list[str]) -> list[str]:
    return source[_start(node) : _end(node)]
