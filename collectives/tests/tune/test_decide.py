"""From made-up times to rules: the fastest wins where it is worth it, and calls between measured ones are served."""

import pytest

from hal_collectives.selection import SelectionTable, choose, default_table
from hal_collectives.tune.decide import decide
from hal_collectives.tune.measure import Timing
from hal_collectives.tune.write import as_yaml, gains

TABLE = SelectionTable.parse(
    b"all_reduce: [{algorithm: two_phase_mapped}, {algorithm: staged}]\nbroadcast: staged\n", "before.yaml"
)
PLAIN = {"one_phase": 1.0, "two_phase": 2.0, "staged": 3.0}


def timing(nbytes: int, mapped: bool, times: dict[str, float], ranks: int = 2) -> Timing:
    return Timing("all_reduce", ranks, nbytes, mapped, times)


def name(table: SelectionTable, nbytes: int, mapped: bool, ranks: int = 2, collective: str = "all_reduce") -> str:
    return choose(collective, ranks, nbytes, mapped=mapped, table=table).name


def test_the_fastest_serves_its_sizes_up_to_halfway_to_the_next():
    small, large = timing(64, False, PLAIN), timing(65536, False, {**PLAIN, "one_phase": 9.0})
    table, _ = decide([small, large], TABLE)
    # the geometric mean of both sizes
    assert [name(table, n, False) for n in (1, 64, 2048, 2049, 1 << 30)] == [
        "one_phase",
        "one_phase",
        "one_phase",
        "two_phase",
        "two_phase",
    ]


def test_mapped_buffers_have_an_algorithm_of_their_own():
    table, _ = decide([timing(64, False, PLAIN), timing(64, True, {**PLAIN, "two_phase_mapped": 0.5})], TABLE)
    assert (name(table, 64, True), name(table, 64, False)) == ("two_phase_mapped", "one_phase")


def test_of_two_that_would_serve_both_kinds_of_memory_the_better_in_both_is_taken():
    plain, mapped = {"one_phase": 1.0, "two_phase": 1.5}, {"one_phase": 4.0, "two_phase": 2.0, "two_phase_mapped": 9.0}
    table, _ = decide([timing(64, False, plain), timing(64, True, mapped)], TABLE)
    assert (name(table, 64, True), name(table, 64, False)) == ("two_phase", "two_phase")


@pytest.mark.parametrize(("time", "kept"), [(1.04, True), (1.06, False)])
def test_what_is_in_force_stays_where_another_is_hardly_faster(time: float, kept: bool):
    table, _ = decide([timing(64, False, {"one_phase": 1.0, "staged": time})], TABLE)
    assert name(table, 64, False) == ("staged" if kept else "one_phase")


def test_rank_counts_between_and_beyond_the_measured_ones():
    ring = {**PLAIN, "ring": 0.1}
    table, _ = decide([timing(64, False, PLAIN, 2), timing(64, False, ring, 4)], TABLE)
    assert [name(table, 64, False, ranks) for ranks in (1, 2, 3, 4, 64)] == [
        "one_phase",
        "one_phase",
        "ring",
        "ring",
        "ring",
    ]


def test_what_does_not_serve_a_rank_count_leaves_it_to_the_table_before():
    times = {"staged": 9.0, "recursive_doubling": 1.0}
    table, _ = decide([Timing("all_gather", 4, 64, False, times)], default_table())
    assert name(table, 64, False, 4, "all_gather") == "recursive_doubling"
    assert name(table, 64, False, 3, "all_gather") == "publish"


def test_collectives_that_were_not_measured_stay():
    table, _ = decide([timing(64, False, PLAIN)], TABLE)
    assert name(table, 64, False, collective="broadcast") == "staged"


def test_the_file_reads_as_the_same_table():
    timings = [timing(n, m, {**PLAIN, "ring": 0.1 * r}, r) for n in (64, 4096) for m in (True, False) for r in (2, 4)]
    table, _ = decide(timings, TABLE)
    text = as_yaml(table, "hal tune")
    assert SelectionTable.parse(text.encode(), "x").rules == {k: tuple(v) for k, v in table.rules.items()}
    assert text.startswith("# Which algorithm a call uses, as `hal tune` measured it on 2")


def test_what_only_pays_in_place_is_compared_by_what_other_calls_take():
    before = b"all_reduce: [{algorithm: two_phase_mapped, max_bytes: 128, in_place: true}, {algorithm: staged}]"
    times = {"two_phase_mapped": 1.0, "staged": 3.0}
    table, found = decide([timing(64, True, times)], SelectionTable.parse(before, "x"))
    assert [(gain.before, gain.after) for gain in found] == [("staged", "two_phase_mapped")]
    assert [rule.in_place for rule in table.rules["all_reduce"]] == [False, True, False]
    again = SelectionTable.parse(as_yaml(table, "y").encode(), "z")
    assert again.rules["all_reduce"] == tuple(table.rules["all_reduce"])


def test_the_gain_is_told_case_by_case():
    _, found = decide([timing(64, False, PLAIN), timing(1 << 20, False, {"staged": 1.0})], TABLE)
    assert gains(found, TABLE.label).splitlines() == [
        "all_reduce, 2 ranks, 64 B, plain: staged 3 µs, one_phase 1 µs (3.00 times as fast)",
        "1 of 2 measured cases change against before.yaml: 3.00 times as fast there, as a geometric mean",
    ]
    _, found = decide([timing(64, False, {"staged": 1.0})], TABLE)
    assert gains(found, "x") == "0 of 1 measured cases change against x: nothing to gain"
