"""`hal bench` itself: its errors, the processes it starts, and the status it ends with."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hal.bootstrap.launcher import run_ranks
from hal.cli import app
from hal_collectives.bench import Report, Settings, launching

from . import broken

QUICK = ["-b", "64", "-e", "1K", "-f", "16", "-n", "2", "-w", "1", "--rounds", "1"]


def hal(*arguments):
    """Run `hal` in a process of its own."""
    program = [sys.executable, "-c", "from hal.cli import main; main()", *arguments]
    return subprocess.run(program, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["all_redcue"], "unknown collective 'all_redcue'"),
        (["all_reduce", "-b", "12Q"], "-b is '12Q': unknown unit 'Q'"),
        (["all_reduce", "-b", "1M", "-e", "1K"], "-b is 1048576 and -e is 1024"),
        (["all_reduce", "-f", "1"], "-f is 1"),
        (["all_reduce", "-f", "2", "-i", "8"], "give one of them"),
        (["all_reduce", "-i", "0"], "-i is '0'"),
        (["all_reduce", "--ranks", "0"], "--ranks is 0"),
        (["all_reduce", "--ranks", "9999"], "9999"),
        (["all_reduce", "-o", "bxor"], "'bxor' is defined on integers"),
        (["all_reduce", "-d", "int9"], "unknown dtype 'int9'"),
        (["broadcast", "-r", "2"], "-r is 2: expected a rank, 0 to 1"),
        (["all_reduce", "-n", "many"], "valid integer"),
    ],
)
def test_wrong_options_are_one_clear_error(arguments, message):
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_it_starts_two_ranks(tmp_path):
    result = hal("bench", "all_reduce", "send_recv", *QUICK, "--json", str(tmp_path / "r.json"))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "# Out of bounds values : 0 OK" in result.stdout
    report = Report.from_json((tmp_path / "r.json").read_text())
    assert report.environment["ranks"] == 2
    assert len({one["pid"] for one in report.environment["hosts"]}) == 2
    assert [one["backend"] for one in report.environment["hosts"]] == ["host"] * 2
    assert [row.size for row in report.rows] == [64, 1024] * 2


def test_in_a_job_it_joins_it():
    result = hal(
        "run",
        "-n",
        "3",
        "--no-prefix",
        sys.executable,
        "-c",
        "from hal.cli import main; main()",
        "bench",
        "all_gather",
        *QUICK,
    )
    assert result.returncode == 0, result.stderr
    assert "# nRanks 3 " in result.stdout
    assert result.stdout.count("# Out of bounds values : 0 OK") == 1  # rank 0 alone prints


def test_a_job_has_its_own_number_of_ranks(monkeypatch):
    monkeypatch.setenv("HAL_RANK", "0")
    monkeypatch.setenv("HAL_SIZE", "4")
    result = CliRunner().invoke(app, ["bench", "all_reduce", "--ranks", "2"])
    assert result.exit_code == 2
    assert "--ranks is 2, but this is a job of 4 ranks (hal)" in result.output


@pytest.mark.parametrize(("wrapper", "status"), [(lambda comm: comm, 0), (broken.FlipsABit, 1)], ids=["right", "wrong"])
def test_the_status_of_one_rank_says_whether_all_is_right(wrapper, status, monkeypatch, capsys):
    init = launching.init
    monkeypatch.setattr(launching, "init", lambda **options: wrapper(init(**options)))
    settings = Settings(collectives=("all_reduce",), max_bytes=64, iterations=1, warmup=0, rounds=1)
    assert launching.bench(settings, ranks=1) == status
    assert f"# Out of bounds values : {8 * status} {'FAILED' if status else 'OK'}" in capsys.readouterr().out


CORRUPT = """
import sys
from hal_collectives.bench import Settings, launching

class FlipsABit:
    def __init__(self, comm): self._comm = comm
    def __getattr__(self, name): return getattr(self._comm, name)
    def __enter__(self): return self
    def __exit__(self, *error): return self._comm.__exit__(*error)
    def all_reduce(self, x, out=None, op="sum", **options):
        self._comm.all_reduce(x, out, op, **options)
        if self._comm.rank == 1:
            out[0] += 1

init = launching.init
launching.init = lambda **options: FlipsABit(init(**options))
settings = Settings(collectives=("all_reduce",), max_bytes=64, iterations=1, warmup=0, rounds=1)
sys.exit(launching.bench(settings))
"""


def test_the_status_of_a_job_with_a_wrong_result(tmp_path):
    (tmp_path / "corrupt.py").write_text(CORRUPT)
    with open(tmp_path / "out", "w+b") as out, open(tmp_path / "err", "w+b") as err:
        assert run_ranks([str(tmp_path / "corrupt.py")], 3, timeout=60, stdout=out, stderr=err) == 1
    # every rank has seen the end of the table before one ends the job
    assert b"# Out of bounds values : 8 FAILED" in (tmp_path / "out").read_bytes()
    assert b"Traceback" not in (tmp_path / "err").read_bytes()
