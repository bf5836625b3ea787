"""The commands of `hal plan` take installed algorithms by name."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from hal.cli import app
from hal.plan import digest
from hal_collectives.algorithms import get


def run(*args: str):
    return CliRunner().invoke(app, ["plan", *args], env={"COLUMNS": "200"})


def test_algorithms_are_verified():
    done = run("verify", "all_reduce:ring", "broadcast:binomial_tree", "--ranks", "5", "--json")
    assert done.exit_code == 0, done.output
    reports = json.loads(done.output)
    assert [(r["file"], r["ok"], r["ranks"]) for r in reports] == [
        ("all_reduce:ring", True, 5),
        ("broadcast:binomial_tree", True, 5),
    ]


def test_an_algorithm_is_shown_as_it_is_built():
    done = run("show", "broadcast:binomial_tree", "--ranks", "3", "--root", "1", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["digest"] == digest(get("broadcast", "binomial_tree").build(3, 1))


def test_an_algorithm_is_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("draw", "all_reduce:ring", "--ranks", "3").output == "ring.svg\n"
    assert "<svg" in (tmp_path / "ring.svg").read_text()


@pytest.mark.parametrize("command", ["show", "verify", "draw"])
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["all_reduce:ring"], "say for how many ranks with --ranks"),
        (["all_reduce:rng", "--ranks", "3"], "did you mean 'ring'?"),
        (["al_reduce:ring", "--ranks", "3"], "did you mean 'all_reduce'?"),
        (["all_reduce:ring", "--ranks", "3", "--root", "1"], "--root is 1, but all_reduce has no root"),
        (["broadcast:publish", "--ranks", "3", "--root", "3"], "root"),
        (["ring.json", "--ranks", "3"], "--ranks is for installed algorithms"),
        (["ring.json", "--root", "0"], "--root is for installed algorithms"),
    ],
)
def test_what_is_no_algorithm_is_said(command, args, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(command, *args)
    assert done.exit_code != 0
    assert words in done.output
    assert not list(tmp_path.iterdir())
