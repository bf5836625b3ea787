import importlib.metadata
import json
import sys
import types

import pytest
import typer
from typer.testing import CliRunner

from hal.cli import plan as command
from hal.cli.group import HalGroup
from hal.plan import PlanBuilder, digest, save, show


@pytest.fixture
def hal():
    app = typer.Typer(cls=HalGroup)
    command.register(app)

    @app.command()
    def other():
        """A second command, so that `plan` is a name on the command line."""

    return lambda *args: CliRunner().invoke(app, list(args), env={"COLUMNS": "200"})


@pytest.fixture
def install(monkeypatch):
    """Installs algorithm providers, in place of those there are."""
    installed = []
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [e for e in installed if e.group == group])

    def install(name, provide):
        module = types.ModuleType(f"fake_algorithms_{name}")
        module.provide = provide
        monkeypatch.setitem(sys.modules, module.__name__, module)
        installed.append(importlib.metadata.EntryPoint(name, f"{module.__name__}:provide", command.PROVIDERS))

    return install


def algorithm(name):
    return types.SimpleNamespace(name=name, collective="all_reduce", description=f"The {name}.", ranks="any number")


def test_show(hal, all_gather, tmp_path):
    file = tmp_path / "plan.json"
    save(all_gather, file)
    assert hal("plan", "show", str(file)).output == show(all_gather) + "\n"
    assert hal("plan", "show", str(file), "--rank", "1").output == show(all_gather, 1) + "\n"
    facts = json.loads(hal("plan", "show", str(file), "--rank", "1", "--json").output)
    assert (facts["name"], facts["digest"]) == ("direct", digest(all_gather))
    assert [rank["rank"] for rank in facts["ranks"]] == [1]
    assert facts["ranks"][0]["blocks"][0][1] == {"do": "signal", "channels": [0]}


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_show_refuses_what_is_not_there(hal, all_gather, tmp_path, extra):
    file = tmp_path / "plan.json"
    save(all_gather, file)
    refused = hal("plan", "show", str(file), "--rank", "2", *extra)
    assert refused.exit_code == 2
    assert refused.stderr == "error: plan 'direct' has no rank 2: allowed are 0 to 1\n"
    missing = hal("plan", "show", str(tmp_path / "missing.json"), *extra)
    assert missing.exit_code == 2
    assert missing.stderr.startswith("error: ")


def test_list(hal, install):
    install("one", lambda: [algorithm("ring"), algorithm("all_pairs")])
    install("two", lambda: (algorithm(name) for name in ["tree"]))
    listed = hal("plan", "list")
    assert listed.exit_code == 0
    lines = [line for line in listed.output.splitlines() if "all_reduce" in line]
    assert [name in line for name, line in zip(["all_pairs", "ring", "tree"], lines, strict=True)] == [True] * 3
    assert json.loads(hal("plan", "list", "--json").output)["algorithms"][1] == {
        "collective": "all_reduce",
        "name": "ring",
        "ranks": "any number",
        "description": "The ring.",
    }


class Costly:
    """An algorithm that tells what it costs, for even numbers of ranks."""

    collective, name, description, ranks = "all_reduce", "costly", "All read all.", "even numbers"

    def supports(self, size):
        return size % 2 == 0

    def build(self, size):
        p = PlanBuilder("all_reduce", name="costly", ranks=size, in_place=False)
        for rank in p.ranks:
            block = rank.block()
            block.signal(rank.others)
            block.wait(rank.others)
            block.reduce(rank.output[0], [r.input[0] for r in p.ranks], final=True)
            block.signal(rank.others)
            block.wait(rank.others)
        return p.build()

    def sizes(self, size):
        return f"<= {size} KiB"


def test_list_shows_what_an_algorithm_costs(hal, install):
    install("one", lambda: [Costly()])
    expected = {"ranks": 4, "steps": 2, "messages_moved": 3.0, "scratch_messages": 0.0, "scratch_bytes": 0}
    (row,) = json.loads(hal("plan", "list", "--ranks", "5", "--json").output)["algorithms"]
    assert row["figures"] == expected | {"chosen_for": "<= 4 KiB"}
    (line,) = (line for line in hal("plan", "list", "--ranks", "5").output.splitlines() if "costly" in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["all_reduce", "costly", "2 (on 4)", "3", "0", "<= 4 KiB", "All read all.; for even numbers"]
    assert "2 (on" not in hal("plan", "list", "--ranks", "6").output
    (alone,) = json.loads(hal("plan", "list", "--ranks", "1", "--json").output)["algorithms"]
    assert "figures" not in alone


def test_list_of_one_collective(hal, install):
    install("one", lambda: [algorithm("ring")])
    assert "ring" in hal("plan", "list", "--collective", "all_reduce").output
    assert hal("plan", "list", "--collective", "broadcast").output == "No algorithms of broadcast are installed.\n"
    refused = hal("plan", "list", "--collective", "all_reduc")
    assert refused.exit_code == 2
    assert "did you mean 'all_reduce'" in refused.stderr


def test_list_says_so_where_nothing_is_installed(hal, install):
    listed = hal("plan", "list")
    assert listed.exit_code == 0
    assert "No algorithms are installed" in listed.output


def test_list_names_a_broken_provider_and_lists_the_others(hal, install):
    def broken():
        raise RuntimeError("out of order")

    install("bad", broken)
    install("good", lambda: [algorithm("ring")])
    listed = hal("plan", "list")
    assert listed.exit_code == 1
    assert "ring" in listed.output
    assert "error: algorithms of 'bad'" in listed.stderr
    assert "out of order" in listed.stderr
