import importlib.metadata
import json
import sys
import types

import pytest
import typer
from typer.testing import CliRunner

from hal.cli import plan as command
from hal.cli.group import HalGroup
from hal.plan import digest, save, show


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
