"""Whole benchmarks on the threads of this process: right results, and wrong ones that must be noticed."""

import io
from dataclasses import replace

import pytest

import hal_collectives as hc
from hal_collectives.bench import Report, Settings, run
from hal_collectives.bench.screen import Screen
from hal_collectives.bench.settings import read_collectives, read_dtypes, read_ops

from . import broken

SMALL = Settings(
    collectives=("all_reduce",), min_bytes=256, max_bytes=4096, factor=16, iterations=2, warmup=1, rounds=2
)


def measure(settings, ranks, wrapper=lambda comm: comm):
    """The table that rank 0 prints, and the reports of all ranks."""
    printed = io.StringIO()

    def body(comm):
        screen = Screen([], output=printed, progress=False) if comm.rank == 0 else None
        return run(wrapper(comm), settings, screen)

    reports = hc.run_local(ranks, body)
    return printed.getvalue().splitlines(), reports


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "plain"])
def test_every_collective_is_measured_and_right(ranks, mapped):
    settings = replace(SMALL, collectives=read_collectives(["all"]), mapped=mapped)
    lines, reports = measure(settings, ranks)
    data = [line for line in lines if not line.startswith("#")]
    assert len(data) == len(reports[0].rows) == (8 + (ranks > 1)) * 2 + 1
    assert lines[-3] == "# Out of bounds values : 0 OK"
    for row in reports[0].rows:
        assert [result.wrong for result in row.results] == [0] * len(row.results)
        assert all(time > 0 for result in row.results for time in result.rounds_us)
        assert [len(result.rounds_us) for result in row.results] == [2] * len(row.results)
        assert row.size == 0 or 240 <= row.size <= 4096
    assert [report.rows for report in reports] == [reports[0].rows] * ranks


def test_every_type_and_operation():
    settings = replace(SMALL, dtypes=read_dtypes("all"), ops=read_ops("all"), min_bytes=512, max_bytes=512)
    _, reports = measure(replace(settings, iterations=1, rounds=1, warmup=0), 3)
    assert len(reports[0].rows) == 8 * 8 + 6 * 5
    assert reports[0].failures == 0


def test_every_root():
    settings = replace(SMALL, collectives=("broadcast", "reduce", "gather", "scatter"), root=-1)
    _, reports = measure(settings, 3)
    assert {row.root for row in reports[0].rows} == {0, 1, 2}
    assert reports[0].failures == 0


def test_a_flipped_bit_on_another_rank_is_one_wrong_element():
    lines, reports = measure(SMALL, 3, broken.FlipsABit)
    for report in reports:
        assert [result.wrong for row in report.rows for result in row.results] == [1, 1, 1, 1]
        assert report.failures == 4
    assert lines[-3] == "# Out of bounds values : 4 FAILED"
    assert [line.split()[-1] for line in lines if not line.startswith("#")] == ["1", "1"]


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_missing_contribution_is_wrong_in_every_element(ranks):
    _, reports = measure(replace(SMALL, collectives=("all_reduce", "broadcast")), ranks, broken.LeavesOutARank)
    for row in reports[0].rows:
        expected = ranks * row.count if row.collective == "all_reduce" else 0
        assert [result.wrong for result in row.results] == [expected, expected]


def test_an_output_that_is_not_written_is_wrong():
    _, reports = measure(replace(SMALL, collectives=("all_gather",)), 2, broken.DoesNothing)
    for row in reports[0].rows:
        assert row.out_of_place.wrong == 2 * 2 * row.count
        assert row.in_place.wrong == 2 * row.count  # the rank's own block is in its place already


def test_blocks_in_the_wrong_order_are_wrong():
    _, reports = measure(replace(SMALL, collectives=("all_to_all",)), 3, broken.SwapsBlocks)
    for row in reports[0].rows:
        assert [result.wrong for result in row.results] == [3 * 3 * row.count] * 2


def test_a_changed_input_is_wrong_out_of_place():
    _, reports = measure(replace(SMALL, collectives=("broadcast",)), 2, broken.ScribblesOnItsInput)
    # the root's input, and the outputs of both ranks, because the next call sends what the last one left
    assert [row.out_of_place.wrong for row in reports[0].rows] == [3, 3]
    assert [row.in_place.wrong for row in reports[0].rows] == [0, 0]


def test_without_checks_nothing_is_claimed():
    lines, reports = measure(replace(SMALL, validate=False), 2, broken.FlipsABit)
    assert {result.wrong for row in reports[0].rows for result in row.results} == {None}
    assert [line.split()[-1] for line in lines if not line.startswith("#")] == ["N/A", "N/A"]


def test_rank_0_writes_the_files(tmp_path):
    settings = replace(SMALL, json=str(tmp_path / "r.json"), plot=str(tmp_path / "r.png"))
    _, reports = measure(settings, 2)
    assert Report.from_json((tmp_path / "r.json").read_text()) == reports[0]
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    environment = reports[0].environment
    assert environment["ranks"] == 2
    assert len(environment["hosts"]) == 2
    assert {"hal-core", "hal-collectives", "numpy"} <= environment["versions"].keys()
