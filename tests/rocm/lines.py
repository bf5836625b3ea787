"""Lines of code of files, without blank lines, comments and docstrings: `python tests/rocm/lines.py FILE …`."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path


def count(path: Path) -> int:
    """Lines of code of a file of Python or C++."""
    text = path.read_text()
    lines = text.splitlines()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    comment = r"\s*(#|$)" if path.suffix == ".py" else r"\s*(//|$)"
    return sum(not re.match(comment, line) for line in lines)


if __name__ == "__main__":
    print(sum(count(Path(name)) for name in sys.argv[1:]))
