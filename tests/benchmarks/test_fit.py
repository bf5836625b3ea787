"""The search for a host's topology finds the one that its rows were made with."""

import json

import pytest
from benchmarks.simulator.bench import Case, Row, rows
from benchmarks.simulator.fit import Parameters, fit

from hal.plan.simulate import load_topology, simulate

TRUE = Parameters(launch=0.3e-6, latency=2.5e-6, link=4e9, copy=9e9, reduce=3e9)
CASES = (
    Case("barrier", "all_pairs", 1),
    Case("barrier", "all_pairs", 2),
    Case("all_gather", "direct_mapped", 1),
    Case("all_gather", "publish", 2),
    Case("reduce_scatter", "publish", 2),
)


def made(case: Case, count: int) -> Row:
    """What a host of these parameters takes."""
    return Row(case, 4 * count, count, simulate(case.plan(), TRUE.topology(2, 2), count).time)


def test_parameters_are_found_again():
    found = fit([made(case, count) for case in CASES for count in (1, 256, 1 << 18)], 2, 2)
    for name in ("launch", "latency", "link", "copy", "reduce"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=0.01), name


def test_the_topology_file_says_the_same(tmp_path):
    file = tmp_path / "host.yaml"
    file.write_text(TRUE.text(2, 2))
    plan = Case("all_reduce", "two_phase", 2).plan()
    read, direct = (simulate(plan, topology, 1 << 16).time for topology in (load_topology(file), TRUE.topology(2, 2)))
    assert read == pytest.approx(direct, rel=1e-3)


def test_rows_of_a_bench_file():
    text = '[{"size": 4096, "count": 512, "out_of_place": {"time_us": 12.5}}]'
    assert rows(CASES[3], json.loads(text)) == [Row(CASES[3], 4096, 512, pytest.approx(12.5e-6))]
