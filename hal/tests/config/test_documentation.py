"""docs/configuration.md says what the settings classes say, and its examples work."""

import re
from pathlib import Path

import pytest

from hal.config.schema import Schema

DOCUMENT = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)


def test_the_table_of_settings():
    heading = "| key | default | environment | allowed | meaning |\n|---|---|---|---|---|\n"
    rows = DOCUMENT.split(heading)[1].split("\n\n")[0].splitlines()
    assert rows == [
        f"| `{key.dotted}` | {key.about.default} | `{key.environment}` | {key.about.kind.allowed} | {key.about.doc} |"
        for key in Schema({}).keys.values()
    ]


def test_the_example_file(load):
    (example,) = _blocks("yaml")
    loaded = load(example)
    assert loaded.timeout == 10.0
    assert loaded.algorithms.pinned("all_reduce", 2**20, 8) == "two_phase"


@pytest.mark.parametrize("code", _blocks("python"))
def test_the_python_examples(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "configuration.md", "exec"), {})


def test_the_example_error(refused):
    (example,) = _blocks("text")
    assert example.strip() == "error: " + refused("\ntimeout: soon\nbacknd: host\n")
