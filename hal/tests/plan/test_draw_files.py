"""Pictures as files: well-formed, complete in themselves, the same every time; and refusals in words."""

import fcntl
import importlib.util
import json
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor, wait
from html.parser import HTMLParser

import pytest
from PIL import Image
from typer.testing import CliRunner

from hal.cli import app
from hal.interface.errors import UsageError
from hal.plan import PlanBuilder, save, trace_file
from hal.plan.draw import draw_plan, draw_timeline, read_trace
from hal.plan.timeline import Interval, Timeline, to_chrome_trace

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def plan():
    """Its name is of the kind that takes advantage of a careless page."""
    p = PlanBuilder("all_gather", name="<script>alert(1)</script> $x^2$ &amp;", ranks=3)
    for rank in p.ranks:
        block = rank.block()
        block.copy([o.output[rank.id] for o in p.ranks], rank.input[0])
    return p.build()


TIMELINE = Timeline(
    "a $plan$ <b>",
    [
        Interval(0, 0, (0,), "move output[0] <- input[0]", "move", 0.0, 2e-6, 1024),
        Interval(0, 0, (1,), "signal 1 (channel 0)", "signal", 2e-6, 3e-6, 0, 1),
        Interval(1, 0, (0, 1), "wait 0 (channel 0)", "wait", 1e-6, 4e-6, 0, 0),
        Interval(1, 0, (1,), "post", "post", 4e-6, 9e-6, 512, 0, port=2),
    ],
    "made up <i>for</i> a test",
)


def draw(what, path):
    draw_timeline(what, path) if isinstance(what, Timeline) else draw_plan(what, path)


@pytest.mark.parametrize("suffix", ["svg", "png", "html"])
@pytest.mark.parametrize("what", ["plan", "timeline"])
def test_the_same_picture_is_the_same_file(plan, tmp_path, what, suffix):
    files = [tmp_path / f"{n}.{suffix}" for n in range(2)]
    for file in files:
        draw(plan if what == "plan" else TIMELINE, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == files, "something was left behind"


def test_an_svg_has_an_arrow_for_each_transfer_and_names_as_they_are(plan, tmp_path):
    draw_plan(plan, tmp_path / "a.svg")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    arrows = {e.get("id") for e in root.iter(f"{SVG}g") if (e.get("id") or "").startswith("arrow-")}
    assert arrows == {f"arrow-1-{a}-{b}" for a in range(3) for b in range(3) if a != b}
    texts = ["".join(e.itertext()) for e in root.iter(f"{SVG}text")]
    assert any(plan.name in text for text in texts)
    assert texts.count("in 0") == 6


def test_an_svg_of_a_timeline_has_a_bar_for_each_interval(tmp_path):
    draw_timeline(TIMELINE, tmp_path / "a.svg")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    ids = {e.get("id") for e in root.iter(f"{SVG}g")}
    assert {"move-0", "signal-0", "wait-1", "delivery-2"} <= ids
    texts = {"".join(e.itertext()) for e in root.iter(f"{SVG}text")}
    assert {"rank 0, block 0", "rank 1, block 0", "rank 1, port 2", TIMELINE.source} <= texts


@pytest.mark.parametrize("what", ["plan", "timeline"])
def test_a_png_can_be_read(plan, tmp_path, what):
    draw(plan if what == "plan" else TIMELINE, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        image.verify()
        assert image.format == "PNG"
        assert min(image.size) > 100


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.loaded, self.policy, self.titles, self.scripts = [], [], None, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.loaded += [v for k, v in values.items() if k in ("src", "href", "srcset", "data", "action")]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "title":
            self.titles.append(data)
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


@pytest.mark.parametrize("what", ["plan", "timeline"])
def test_a_page_is_complete_in_itself(plan, tmp_path, what):
    draw(plan if what == "plan" else TIMELINE, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.loaded == []
    assert page.policy is not None
    assert "default-src 'none'" in page.policy
    assert "http" not in page.policy
    own = [script for script in page.scripts if "Plotly.newPlot" in script and len(script) < 100_000]
    assert len(own) == 1
    assert "http" not in own[0].replace("https://plotly.com", "")
    assert "alert(1)</script>" not in text
    assert "<b>" not in own[0]
    assert (plan.name if what == "plan" else "a $plan$ <b>") in "".join(page.titles)


def test_a_trace_is_read_back(tmp_path):
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(to_chrome_trace(TIMELINE)))
    back = read_trace(file)
    assert (back.name, back.source) == (TIMELINE.name, TIMELINE.source)
    assert {(i.rank, i.block, i.path, i.text, i.kind, i.nbytes, i.port) for i in back.intervals} == {
        (i.rank, i.block, i.path, i.text, i.kind, i.nbytes, i.port) for i in TIMELINE.intervals
    }


def test_reading_waits_for_a_rank_that_is_writing(tmp_path):
    file = tmp_path / "trace.json"
    text = json.dumps(to_chrome_trace(TIMELINE))
    with ThreadPoolExecutor() as pool, file.open("w") as half:
        fcntl.flock(half, fcntl.LOCK_EX)
        half.write(text[:100])
        half.flush()
        back = pool.submit(read_trace, file)
        done, _ = wait([back], timeout=0.2)
        half.write(text[100:])
    assert not done
    assert back.result(timeout=10).name == TIMELINE.name


def test_a_writer_that_keeps_the_file_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_file, "PATIENCE", 0.1)
    file = tmp_path / "trace.json"
    with file.open("w") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match=r"cannot be read: another process has kept it locked for 0\.1 s"):
            read_trace(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no list `traceEvents`"),
        ('{"traceEvents": 3}', "no list `traceEvents`"),
        ('{"traceEvents": []}', "no instructions"),
        ('{"traceEvents": [3]}', "event 0"),
        ('{"traceEvents": [{"ph": "X"}]}', "event 0"),
        (
            '{"traceEvents": [{"ph":"X","name":"a","cat":"move","pid":0,"tid":0,"ts":1e999,"dur":1,'
            '"args":{"block":0,"instruction":"0"}}]}',
            "event 0",
        ),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path, text, words):
    file = tmp_path / "trace.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_trace(file)


def run(*args):
    return CliRunner().invoke(app, ["plan", "draw", *map(str, args)], env={"COLUMNS": "200"})


def test_the_command(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(plan, tmp_path / "gather.json")
    (tmp_path / "trace.json").write_text(json.dumps(to_chrome_trace(TIMELINE)))
    assert run("gather.json").output == "gather.svg\n"
    assert run("gather.json", "-o", "a.png", "--size", "3M", "--rank", "1").output == "a.png\n"
    assert run("--timeline", "trace.json", "-o", "b.html", "--rank", "1").output == "b.html\n"
    assert {f.name for f in tmp_path.iterdir()} == {"gather.json", "trace.json", "gather.svg", "a.png", "b.html"}
    assert "1 MiB" in _hovers(plan, tmp_path)


def _hovers(plan, tmp_path):
    run("gather.json", "-o", "c.html", "--size", "3M")
    return (tmp_path / "c.html").read_text()[-50_000:]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "give a plan as FILE, or a trace with --timeline"),
        (["plan.json", "--timeline", "t.json"], "give a plan as FILE"),
        (["plan.json", "-o", "a.pdf"], "ends with one of .svg, .png, .html"),
        (["plan.json", "-o", "none/a.svg"], "its folder does not exist"),
        (["plan.json", "--launch", "3"], "--launch is for timelines"),
        (["--timeline", "t.json", "--size", "1M"], "--size is for plans"),
        (["--timeline", "t.json"], "cannot be read"),
        (["plan.json", "--size", "big"], "--size"),
        (["plan.json", "--rank", "9"], "no rank 9"),
    ],
)
def test_what_cannot_be_drawn_is_refused(plan, tmp_path, monkeypatch, args, words):
    monkeypatch.chdir(tmp_path)
    save(plan, tmp_path / "plan.json")
    result = run(*args)
    assert result.exit_code != 0
    assert words in " ".join((result.output + str(result.exception)).split())
    assert [f.name for f in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(("suffix", "missing"), [("svg", "matplotlib"), ("html", "plotly")])
def test_a_missing_library_is_named_with_its_remedy(plan, tmp_path, monkeypatch, suffix, missing):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == missing else real(name, *more))
    with pytest.raises(UsageError, match=rf"needs {missing}, .*pip install 'hal-core\[draw\]'"):
        draw_plan(plan, tmp_path / f"a.{suffix}")


def test_more_than_can_be_seen_is_refused():
    intervals = [Interval(0, 0, (0,), "sync", "sync", 0.0, 1.0)] * 50_001
    with pytest.raises(UsageError, match="50001 intervals, at most 50000 can be drawn: choose ranks"):
        draw_timeline(Timeline("long", intervals), "/tmp/never.svg")


def test_only_ranks_that_are_there(tmp_path):
    with pytest.raises(UsageError, match="has no rank 7: it has 0, 1"):
        draw_timeline(TIMELINE, tmp_path / "a.svg", ranks=[7])
