import json
from dataclasses import replace

import pytest
from PIL import Image

from hal.interface.errors import UsageError
from hal_collectives.bench.plot import write_plot
from hal_collectives.bench.report import Report, Result, Row
from hal_collectives.bench.settings import Settings

RESULT = Result(time_us=12.5, rounds_us=(12.0, 12.5, 30.25), algbw=4.0, busbw=6.0, wrong=0)


def row(size=1024, **fields):
    first = Row("all_reduce", size, size // 4, "float32", "sum", None, RESULT, replace(RESULT, busbw=3.0, wrong=2))
    return replace(first, **fields)


def report(*rows):
    environment = {"ranks": 4, "backend": "host", "cpu": "a processor"}
    return Report(environment, Settings(collectives=("all_reduce",), timeout=3.0), rows)


def test_results_survive_json(tmp_path):
    whole = report(
        row(), row(2048, in_place=None, root=3, redop=None), row(4096, out_of_place=replace(RESULT, wrong=None))
    )
    whole.write(tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text()
    assert Report.from_json(text) == whole
    assert json.loads(text)["rows"][0]["out_of_place"]["rounds_us"] == [12.0, 12.5, 30.25]
    assert json.loads(text)["failures"] == 2


def test_failures_and_the_average():
    barrier = row(0, collective="barrier", out_of_place=replace(RESULT, busbw=0.0), in_place=None)
    whole = report(row(), barrier)
    assert whole.failures == 1
    assert whole.average_bus_bandwidth == 4.5


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema_version": 1, "environment": {}, "settings": 3, "rows": []}']
)
def test_something_else_is_not_taken_for_results(text):
    with pytest.raises(UsageError, match="no results of hal bench"):
        Report.from_json(text)


def test_another_version_of_the_file_is_refused():
    with pytest.raises(UsageError, match="schema_version 99"):
        Report.from_json(report().to_json().replace('"schema_version": 1', '"schema_version": 99'))


def test_the_plot_is_a_picture_with_curves(tmp_path):
    sizes = [8 << 3 * n for n in range(8)]
    rows = [row(size, out_of_place=replace(RESULT, time_us=5 + size / 1000)) for size in sizes]
    write_plot(report(*rows), tmp_path / "full.png")
    write_plot(report(), tmp_path / "empty.png")
    with Image.open(tmp_path / "full.png") as full, Image.open(tmp_path / "empty.png") as empty:
        assert full.format == empty.format == "PNG"
        assert full.width > 1000
        assert colours(full) - colours(empty)


def colours(picture):
    """The saturated colours of a picture: those of curves, not of text and axes."""
    found = picture.convert("RGB").getcolors(1 << 24)
    return {colour for _, colour in found if max(colour) - min(colour) > 100}
