"""The summary: which rows make a cell, what of them counts, and what they are to reach."""

import pytest
from benchmarks.host.cases import COLLECTIVES, FORMS, SIZES, Case, cases
from benchmarks.host.heat_map import ratios
from benchmarks.host.results import Entry, Report, Row
from benchmarks.host.statistics import Summary
from benchmarks.host.summary import cells, summary
from benchmarks.host.targets import RANGES, Target, size_range, target

ROLES = {"hal-plain": "hal", "hal-registered": "hal", "a": "peer", "a-c": "limit"}


def row(size: int, ratio: float, *, source: str = "dirty", collective: str = "all_reduce", from_c: float = 30.0) -> Row:
    def one(value: float) -> Summary:
        return Summary(value, value, value)

    entries = {
        "hal-registered": Entry(microseconds=one(20.0), ratio=one(ratio)),
        "a": Entry(microseconds=one(20.0 * ratio)),
        "a-c": Entry(microseconds=one(from_c)),
    }
    return Row(Case(collective, 2, size, source), entries, "a")


def report(*rows: Row) -> Report:
    return Report({"cpu": "A processor", "cores": 2}, "", {}, roles=dict(ROLES), rows=list(rows))


def test_a_cell_has_the_worst_and_the_median_of_its_sizes():
    found = cells(report(row(4, 4.0), row(64, 9.0), row(4096, 3.6), row(8192, 0.1), row(16384, 5.0)))
    assert [(cell.index, cell.ratios) for cell in found] == [(0, (4.0, 9.0, 3.6)), (1, (5.0,))]
    assert (found[0].worst, found[0].worst_size, found[0].verdict) == (3.6, 4096, "met")
    assert found[0].from_c == pytest.approx(1.5)


@pytest.mark.parametrize(("ratio", "verdict"), [(3.4, "**missed**"), (3.5, "met"), (6.0, "aim")])
def test_the_verdict_is_that_of_the_worst_row(ratio: float, verdict: str):
    assert [cell.verdict for cell in cells(report(row(4, 99.0), row(16, ratio)))] == [verdict]


def test_a_clean_source_does_not_count_beside_a_dirty_one():
    both = report(row(4, 1.0, source="clean"), row(4, 7.0))
    assert [cell.ratios for cell in cells(both)] == [(7.0,)]
    assert ratios(both, "hal-registered") == {("all_reduce in place, 2 ranks", 4): 7.0}
    assert [cell.ratios for cell in cells(report(row(4, 1.0, source="clean")))] == [(1.0,)]


def test_the_page_says_how_many_cells_meet_their_target():
    text = summary(report(row(4, 7.0), row(1 << 20, 1.0)))
    assert "Of 2 cells with a target 1 meet it." in text
    assert "| 2 | all_reduce, in place | registered | to 4 KiB | **7.00** | 4 B | 7.00 | 3.5 (6) | aim | 1.50 |" in text
    assert summary(report()) == ""


def test_sizes_fall_into_the_ranges_of_the_targets():
    assert [size_range(size) for size in (0, 4, 4096, 4097, 16384, 4 << 20, 16 << 20, 128 << 20, 129 << 20)] == [
        0,
        0,
        0,
        None,
        1,
        1,
        2,
        2,
        None,
    ]
    assert {size_range(size) for size in SIZES} == {0, 1, 2}


def test_every_measured_case_has_a_target():
    for collective in COLLECTIVES:
        for form in FORMS[collective]:
            for index in range(len(RANGES)):
                found = target(collective, 4, form, "plain", index)
                assert found is not None
                assert found.aim > found.must >= 1.0
    assert target("all_reduce", 2, "in_place", "registered", 1) == Target(4, 6)
    assert target("all_reduce", 2, "out_of_place", "registered", 1) == Target(1.3, 2)
    assert target("barrier", 2, "out_of_place", "plain", 0) == Target(1.5, 3)


def test_all_collectives_are_swept_over_all_sizes_in_every_form():
    for collective in COLLECTIVES:
        found = cases(collective, 2, ("clean", "dirty"), quick=False)
        assert {case.form for case in found} == set(FORMS[collective])
        if collective != "barrier":
            assert {case.bytes for case in found} | {4} == set(SIZES)
    assert {case.form for case in cases("all_gather", 2, ("dirty",), quick=True)} == {"out_of_place"}
    assert cases("send_recv", 3, ("dirty",), quick=False) == []
