"""The examples of docs/launching.md work."""

import re
from pathlib import Path

import pytest

DOCUMENT = (Path(__file__).parents[3] / "docs" / "launching.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example(example):
    exec(compile(example, "launching.md", "exec"), {})


def test_there_are_examples():
    assert len(EXAMPLES) == 2
