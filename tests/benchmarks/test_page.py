import dataclasses
from pathlib import Path

import pytest
from benchmarks.host.cases import Case, show_bytes
from benchmarks.host.conductor import Pace, measure
from benchmarks.host.page import write_page
from benchmarks.host.plots import write_plots
from benchmarks.host.results import Report, Row
from tests.benchmarks.fakes import FakeTeam, contender

MACHINE = {
    "date": "2025-01-02 03:04 UTC",
    "cpu": "A processor",
    "cores": 2,
    "caches": {"L1": "32K", "L2": "1024K"},
    "memory_gib": 8,
    "hypervisor": True,
    "kernel": "Linux 6",
    "python": "3.11",
    "numpy": "2.0",
    "commit": None,
}


@pytest.fixture
def report() -> Report:
    pace = Pace(seconds=0.0, min_rounds=5, max_rounds=5)
    report = Report(MACHINE, "make bench-host", dataclasses.asdict(pace))
    contenders = [
        contender("hal", FakeTeam(speeds=(50_000, 50_000)), role="hal"),
        contender("a", FakeTeam()),
        contender("b", FakeTeam(speeds=(150_000, 150_000), wrong_at=4)),
    ]
    for each in contenders:
        report.labels[each.name], report.settings[each.name] = each.label, "defaults"
        report.versions[each.name] = "1.0"
    report.roles = {each.name: each.role for each in contenders}
    report.idle_cores, report.foreign_cores = {2: 0.01}, {2: 0.03}
    copies = [{"threads": 2, "bytes": size, "us": us} for size, us in ((65536, 4.0), (1 << 20, 80.0), (1 << 28, 9e4))]
    report.limits = {"round_trip_us": 0.2, "refill_read_us": 30.0, "refill_claimed_us": 5.0, "copies": copies}
    for size in (4, 65536):
        case = Case("all_reduce", 2, size, "dirty")
        report.rows.append(Row.of(case, contenders, measure(case, contenders, pace)))
    return report


def test_rows_compare_hal_with_the_best_peer(report: Report):
    first, second = report.rows
    assert (first.best_peer, second.best_peer) == ("a", "b")
    assert first.entries["hal"].ratio is not None
    assert second.entries["hal"].ratio is not None
    assert first.entries["hal"].ratio.median == pytest.approx(4.0)
    assert second.entries["hal"].ratio.median == pytest.approx(3.0)
    assert first.entries["a"].ratio is None
    assert report.has_wrong


def test_page_shows_times_ratios_yardstick_and_what_was_wrong(report: Report, tmp_path: Path):
    write_page(report, tmp_path / "host.md", [])
    lines = (tmp_path / "host.md").read_text().splitlines()
    assert "| 4 B | 50 | 200 | **wrong** | 0.1 | A | **4.00** (4.00–4.00) |" in lines
    assert "| 64 KiB | 50 | 200 | 150 | 4.1 | B | **3.00** (3.00–3.00) |" in lines
    assert "- B, all_reduce, 2 ranks, in place, dirty, 4 B: wrong result: 1 of 4 elements are wrong on rank 1" in lines
    assert "| a word from one core to another and back | 200 ns |" in lines
    assert "| filling 256 KiB again that another core has read | 30 µs |" in lines
    assert "| filling 256 KiB again that another core has read and written to | 5 µs |" in lines


def test_page_warns_where_other_processes_were_busy(report: Report, tmp_path: Path):
    def warns() -> bool:
        write_page(report, tmp_path / "host.md", [])
        return "mean little" in (tmp_path / "host.md").read_text()

    assert not warns()
    report.foreign_cores[8] = 1.5
    assert warns()


def test_report_survives_its_file(report: Report, tmp_path: Path):
    report.not_run.append(("a", 8, "it cannot start"))
    report.write(tmp_path / "host.json")
    again = Report.read(tmp_path / "host.json")
    assert again == report


def test_pictures_are_drawn_of_all_ratios_and_for_both_ranges(report: Report, tmp_path: Path):
    written = write_plots(report, tmp_path)
    names = ["host-ratios.png", "host-all-reduce-latency.png", "host-all-reduce-bandwidth.png"]
    assert [path.name for path in written] == names
    assert all(path.stat().st_size > 1000 for path in written)


def test_sizes_are_shown_in_the_largest_whole_unit():
    assert [show_bytes(size) for size in (4, 1024, 1536, 65536, 1 << 27)] == [
        "4 B",
        "1 KiB",
        "1536 B",
        "64 KiB",
        "128 MiB",
    ]
