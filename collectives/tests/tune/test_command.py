"""`hal tune` from start to end, and the table that a configuration names."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hal.interface.errors import ConfigError, UsageError
from hal_collectives import Communicator, init, run_local
from hal_collectives.selection import SelectionTable


def hal(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `hal` in a process of its own."""
    program = [sys.executable, "-c", "from hal.cli import main; main()", *arguments]
    return subprocess.run(program, capture_output=True, text=True, timeout=100, cwd=cwd)


@pytest.mark.slow
def test_a_tiny_range_gives_a_table_that_serves_calls(tmp_path: Path):
    done = hal("tune", "all_reduce", "send_recv", "--ranks", "2", "--quick", "-o", "mine.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "12 measured cases change against selection.yaml" in done.stdout
    table = SelectionTable.parse((tmp_path / "mine.yaml").read_bytes(), "mine.yaml")
    assert {"all_reduce", "send_recv", "barrier"} <= set(table.rules)
    (tmp_path / "hal.yaml").write_text("selection_table: mine.yaml\n")
    shown = hal("info", "--config", "--json", cwd=tmp_path).stdout
    assert f'"value": "{tmp_path / "mine.yaml"}"' in shown

    def body(comm: Communicator) -> None:
        assert (comm.all_reduce(np.ones(5)) == 2).all()

    run_local(2, body, timeout=20, selection_table=str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["all_redcue"], "did you mean 'all_reduce'"),
        (["--ranks", "1"], "numbers from 2 to 64 are allowed"),
        (["-o", "nowhere/x.yaml"], "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_is_an_error(arguments: list[str], message: str, tmp_path: Path):
    done = hal("tune", *arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert message in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("all_reduce:\n  - {algorithm: one_fase}\n", r"mine\.yaml:\d: all_reduce: .*did you mean 'one_phase'"),
        ("all_redcue: ring\n", r"mine\.yaml:1: .*did you mean 'all_reduce'"),
        ("- ring\n", r"mine\.yaml:1: a selection table is a mapping"),
    ],
)
def test_a_bad_table_is_named_with_its_line(text: str, message: str, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        init(selection_table=str(tmp_path / "mine.yaml"))


def test_a_table_that_is_not_there_is_an_error_of_the_configuration(tmp_path: Path):
    (tmp_path / "hal.yaml").write_text("timeout: 5s\nselection_table: mine.yaml\n")
    with pytest.raises(ConfigError, match=r"hal\.yaml:2: selection_table: there is no file .*mine\.yaml"):
        init(config_path=tmp_path / "hal.yaml")


def test_ranks_with_different_tables_are_told(tmp_path: Path):
    tables = [SelectionTable.parse(f"all_reduce: {name}\n".encode(), name) for name in ("one_phase", "ring")]

    def body(comm: Communicator) -> None:
        own = Communicator(comm._group, table=tables[comm.rank])
        with pytest.raises(UsageError, match="ranks choose different algorithms"):
            own.all_reduce(np.ones(64))

    run_local(2, body, timeout=20)
