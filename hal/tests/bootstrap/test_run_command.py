import pytest
import typer
from typer.testing import CliRunner

from hal.cli.run import register
from hal.interface.errors import UsageError


@pytest.fixture
def invoke():
    app = typer.Typer()
    app.callback()(lambda: None)  # with it, a lone command keeps its name
    register(app)
    return lambda *arguments: CliRunner().invoke(app, ["run", *arguments])


def test_the_programs_own_options_are_its_own(invoke):
    result = invoke("-n", "2", "sh", "-c", "echo $HAL_RANK $0 $1", "-n", "--help")
    assert result.exit_code == 0
    assert sorted(result.stdout.splitlines()) == ["[0] 0 -n --help", "[1] 1 -n --help"]


def test_a_double_dash_is_not_the_programs(invoke):
    assert invoke("-n", "1", "--no-prefix", "--", "echo", "-n", "a", "--", "b").stdout == "a -- b\n"


def test_the_status_and_the_reason_come_through(invoke):
    result = invoke("-n", "1", "sh", "-c", "exit 9")
    assert (result.exit_code, result.stderr) == (9, "rank 0 exited with status 9\n")


def test_ranks_keep_going_where_one_fails(invoke):
    result = invoke("-n", "2", "--keep-going", "sh", "-c", "test $HAL_RANK = 0 && exit 9; sleep 0.5; echo on")
    assert (result.exit_code, result.stdout, result.stderr) == (9, "[1] on\n", "rank 0 exited with status 9\n")


def test_a_module(invoke):
    assert "usage" in invoke("-n", "1", "-m", "json.tool", "--help").stdout


def test_a_timeout(invoke):
    assert invoke("-n", "1", "--timeout", "0.2", "sleep", "100").exit_code == 124


def test_wrong_use_is_refused(invoke):
    assert isinstance(invoke("-n", "0", "true").exception, UsageError)
    assert invoke("true").exit_code == 2
    assert invoke("-n", "1").exit_code == 2
