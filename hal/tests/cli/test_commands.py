"""Global options, errors, and commands from other packages."""

import importlib.metadata
import json
import subprocess
import sys

import pytest
import typer

from hal.cli.state import state
from hal.interface.errors import PlanError


def test_version(hal):
    assert hal("--version").stdout == f"hal-core {importlib.metadata.version('hal-core')}\n"


@pytest.mark.parametrize(("typed", "meant"), [("inof", "info"), ("docter", "doctor"), ("benhc", "bench")])
def test_a_wrong_command_names_the_nearest(hal, plugins, typed, meant):
    plugins.add("hal.commands", "bench", lambda: None)
    result = hal(typed)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: unknown command '{typed}': allowed are bench, doctor, info")
    assert result.stderr.endswith(f"did you mean '{meant}'?\n")


def test_an_error_is_one_clean_line(hal, tmp_path):
    (tmp_path / "hal.yaml").write_text(f"timeout: {'x' * 50} [bold]\n")
    result = hal("info", "--config", COLUMNS="40")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: hal.yaml:1: timeout: '{'x' * 50} [bold]' is not a duration")
    assert result.stderr.count("\n") == 1


def test_debug_shows_the_traceback(hal):
    result = hal("--debug", "--config", "none.yaml", "info", "--config")
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("error: none.yaml: there is no such file\n")


def test_a_function_as_a_command(hal, plugins):
    def bench(ctx: typer.Context, size: str, verbose: bool = False) -> None:
        typer.echo(f"{size} {verbose} {state(ctx).config_path} {state(ctx).load().timeout}")

    plugins.add("hal.commands", "bench", bench)
    assert hal("bench", "64K", "--verbose", HAL_TIMEOUT="3").stdout == "64K True None 3.0\n"
    assert hal("bench").exit_code == 2


def test_an_application_as_a_command(hal, plugins):
    application = typer.Typer()

    @application.command()
    def run() -> None:
        raise PlanError("the plan is wrong", rank=3)

    @application.command()
    def show() -> None:
        typer.echo("shown")

    plugins.add("hal.commands", "tune", application)
    assert hal("tune", "show").stdout == "shown\n"
    result = hal("tune", "run")
    assert (result.exit_code, result.stderr) == (2, "error: the plan is wrong [rank 3]\n")
    assert "tune" in hal("--help").stdout


def _reasons(hal):
    return {one["name"]: one["reason"] for one in json.loads(hal("info", "--json").stdout)["commands"]}


@pytest.mark.parametrize(
    ("value", "reason"),
    [(3, "it is 3, neither a typer.Typer nor a function"), (typer.Typer(), "it is no usable command: RuntimeError")],
)
def test_a_broken_command(hal, plugins, value, reason):
    plugins.add("hal.commands", "bench", value)
    plugins.declare("hal.commands", "tune", "no_such_module")
    assert reason in _reasons(hal)["bench"]
    assert "No module named 'no_such_module'" in _reasons(hal)["tune"]
    assert hal("--help").exit_code == 0
    result = hal("bench", "--any", "thing")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: command 'bench' (unknown unknown) cannot be loaded: ")
    assert "No module named" in hal("tune").stderr


def test_names_that_clash(hal, plugins):
    plugins.add("hal.commands", "info", lambda: typer.echo("not this one"))
    plugins.add("hal.commands", "bench", lambda: None)
    plugins.declare("hal.commands", "bench", "another")
    assert "not this one" not in hal("info").stdout
    reasons = _reasons(hal)
    assert "hal has a command of this name itself" in reasons["info"]
    assert "its name is taken by" in reasons["bench"]
    assert "its name is taken by" in hal("bench").stderr


def test_the_console_script_starts_without_numpy(tmp_path):
    """Plug-ins of this installation aside, `hal --version` imports nothing heavy."""
    code = (
        "import sys\nfrom hal.cli import main\nsys.argv = ['hal', '--version']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'numpy', 'matplotlib', 'ml_dtypes'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("hal-core ")
