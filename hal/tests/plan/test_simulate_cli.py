"""`hal plan simulate`, and the timeline that it writes."""

import json

import pytest
import typer
from typer.testing import CliRunner

from hal.cli import plan, plan_simulate
from hal.cli.group import HalGroup
from hal.plan import save
from hal.plan.simulate import simulate
from hal.plan.timeline import Interval, Timeline, to_chrome_trace

from .simulated import COUNT, custom, put, ring, star

TOPOLOGY = "topology: node\nranks: 4\nlink: {bandwidth: 1GB/s, latency: 500ns}\n"


@pytest.fixture
def hal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.yaml").write_text(TOPOLOGY)
    save(ring(4), tmp_path / "ring.json")
    app = typer.Typer(cls=HalGroup)
    plan.register(app)
    plan_simulate.register()

    @app.command()
    def other():
        """A second command, so that `plan` is a name on the command line."""

    return lambda *args: CliRunner().invoke(app, ["plan", "simulate", *args], env={"COLUMNS": "200"})


def test_json(hal):
    done = hal("ring.json", "--topology", "t.yaml", "--size", "4M", "--json")
    facts = json.loads(done.output)
    expected = simulate(ring(4), star(4), 1 << 20)
    assert facts["seconds"] == pytest.approx(expected.time)
    assert facts["busbw"] == pytest.approx(expected.busbw)
    assert (facts["bytes"], facts["ranks"], facts["dtype"]) == (4 << 20, 4, "float32")
    assert sum(step["seconds"] for step in facts["critical_path"]) == pytest.approx(facts["seconds"])
    assert {name for load in facts["loads"] for name in load["names"]} >= {"rank 0 -> switch", "switch -> rank 3"}


def test_text(hal):
    done = hal("ring.json", "--topology", "t.yaml", "--size", "4M", "--dtype", "float16")
    assert done.exit_code == 0, done.output
    assert "ring (all_reduce) on 4 ranks of t.yaml, 4194304 bytes of float16:" in done.output
    assert "Critical path" in done.output
    assert "rank 0 -> switch" in done.output


def test_timeline(hal, tmp_path):
    done = hal("ring.json", "--topology", "t.yaml", "--size", "1K", "--timeline", "t.json", "--timeline-ranks", "1,3")
    assert done.exit_code == 0, done.output
    trace = json.loads((tmp_path / "t.json").read_text())
    assert {event["pid"] for event in trace["traceEvents"]} == {1, 3}
    assert trace["otherData"]["plan"] == "ring"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--size", "4X"], "--size: '4X' is not a size"),
        (["--dtype", "float99"], "unknown dtype 'float99'"),
        (["--timeline-ranks", "1"], "--timeline-ranks says what --timeline writes"),
        (["--timeline", "t.json", "--timeline-ranks", "one"], "--timeline-ranks is 'one'"),
        (["--timeline", "t.json", "--timeline-ranks", "9"], "has no rank 9"),
        (["--timeline", "none/t.json"], "none/t.json: cannot be written"),
        (["--topology", "none.yaml"], "there is no such file"),
        (["--ranks", "4"], "--ranks is for installed algorithms"),
    ],
)
def test_bad_arguments(hal, args, expected):
    done = hal("ring.json", "--topology", "t.yaml", "--size", "4M", *args)
    assert done.exit_code != 0
    assert expected in (done.output + str(done.exception))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["all_reduce:ring"], "say for how many ranks with --ranks"),
        (["all_reduce:none_such", "--ranks", "4"], "unknown algorithm of all_reduce 'none_such'"),
        (["al_reduce:ring", "--ranks", "4"], "unknown collective 'al_reduce'"),
        (["none.json"], "none.json"),
    ],
)
def test_plans_that_are_not_there(hal, args, expected):
    done = hal(*args, "--topology", "t.yaml", "--size", "4M")
    assert done.exit_code != 0
    assert expected in (done.output + str(done.exception))


def test_a_chrome_trace_has_a_process_a_rank_and_a_thread_a_block():
    p = custom(2)
    put(p, 0, 1)
    prediction = simulate(p.build(), star(2), COUNT)
    trace = to_chrome_trace(prediction.timeline())
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert [(e["pid"], e["cat"]) for e in events] == [(0, "move"), (1, "wait"), (0, "signal")]
    move = events[0]
    assert (move["ts"], move["dur"]) == (0, pytest.approx(1000.0))
    assert move["args"] == {"block": 0, "instruction": "0", "bytes": 1_000_000, "peer": 1}
    assert {e["args"].get("name") for e in trace["traceEvents"] if e["ph"] == "M"} >= {"rank 0", "rank 1", "block 0"}
    assert json.loads(json.dumps(trace)) == trace


def test_deliveries_are_threads_of_their_own():
    delivery = Interval(0, 0, (), "deliver", "post", 1.0, 2.0, 8, 1, port=3)
    trace = to_chrome_trace(Timeline("x", [delivery]))
    assert [e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"] == ["port channel 3"]
