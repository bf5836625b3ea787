"""`hal plan verify`: what it prints and how it ends."""

import json

import pytest
import typer
from typer.testing import CliRunner

import hal.cli
from hal.cli import plan as command
from hal.cli.group import HalGroup
from hal.plan import PlanBuilder, save

from .verifying import exchange


@pytest.fixture
def hal():
    app = typer.Typer(cls=HalGroup)
    command.register(app)

    @app.command()
    def other():
        """A second command, so that `plan` is a name on the command line."""

    return lambda *args: CliRunner().invoke(app, list(map(str, args)), env={"COLUMNS": "200"})


@pytest.fixture
def right(tmp_path, all_gather):
    save(all_gather, tmp_path / "right.json")
    return tmp_path / "right.json"


def wrong(folder, *, balanced=True):
    """A file with a race, or with a signal that nobody waits for."""
    p = PlanBuilder("all_reduce", name="wrong", ranks=2)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        block.sync()
        block.reduce(rank.output[0], [q.scratch[0] for q in p.ranks], final=True)
        if not balanced:
            block.signal(rank.others)
    save(p.build(), folder / "wrong.json")
    return folder / "wrong.json"


def test_proven_plans(hal, right):
    done = hal("plan", "verify", right, right)
    assert done.exit_code == 0
    assert done.output.count("proven (") == 2


def test_counts_that_differ(hal, right, tmp_path):
    done = hal("plan", "verify", "--variable", right)
    assert done.exit_code == 0
    assert "equal and different counts, any type, apart and in place" in done.output
    save(exchange(), tmp_path / "all_reduce.json")
    done = hal("plan", "verify", "--variable", tmp_path / "all_reduce.json")
    assert done.exit_code == 1
    assert "uneven-counts: all_reduce has no form of variable counts" in done.output


def test_a_race_for_people(hal, right, tmp_path):
    done = hal("plan", "verify", right, wrong(tmp_path))
    assert done.exit_code == 1
    assert "right.json: plan 'direct' on 2 ranks: proven" in done.output
    assert "data-race: one block" in done.output
    assert "rank 0, block 0, instruction 0: move scratch[0] <- input[0]" in done.output


def test_a_race_as_json(hal, right, tmp_path):
    done = hal("plan", "verify", "--json", right, wrong(tmp_path))
    assert done.exit_code == 1
    first, second = json.loads(done.output)
    assert (first["ok"], second["ok"]) == (True, False)
    assert {finding["code"] for finding in second["findings"]} == {"data-race", "unwritten-read"}


def test_what_is_malformed_is_a_finding_with_its_code(hal, tmp_path):
    done = hal("plan", "verify", "--json", wrong(tmp_path, balanced=False))
    assert done.exit_code == 1
    (report,) = json.loads(done.output)
    assert {finding["code"] for finding in report["findings"]} == {"unmatched-signal"}


def test_a_file_that_is_no_plan(hal, right, tmp_path):
    file = tmp_path / "no.json"
    file.write_text("{}")
    done = hal("plan", "verify", file, right)
    assert done.exit_code == 2
    assert "proven" in done.output
    assert json.loads(hal("plan", "verify", "--json", file).output)[0]["error"].startswith(str(file))


def test_limits(hal, right):
    assert hal("plan", "verify", "--limit", "blocks=1", right).exit_code == 0
    done = hal("plan", "verify", "--limit", "channels=0", right)
    assert done.exit_code == 1
    assert "uses 1 channels, the device has 0" in done.output
    assert "did you mean 'blocks'?" in hal("plan", "verify", "--limit", "blok=1", right).output
    assert "a whole number" in hal("plan", "verify", "--limit", "blocks=many", right).output
